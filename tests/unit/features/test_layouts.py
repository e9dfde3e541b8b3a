import pytest

from geotoken.errors import InputError
from geotoken.features.layouts import PhotoIndex, open_published
from geotoken.features.sources import TarSlice
from geotoken.gallery.sources import BuildError


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")


MP16 = "IMG_ID,AUTHOR,LAT,LON,city\n4f/a0/396.jpg,11@N00,48.1,11.5,Munich\nbd/91/7.jpg,22@N00,-33.9,151.2,\n"


def test_mp16_with_its_tar(make_tar, make_png, tmp_path):
    write(tmp_path / "data" / "metadata" / "MP16_Pro_filtered.csv", MP16)
    write(
        tmp_path / "data" / "metadata" / "MP16_Pro_places365.csv", "wrong\n1\n"
    )  # the first that is there counts
    make_tar("data/mp-16-images.tar", [("m/4f_a0_396.jpg", make_png(1)), ("m/bd_91_7.jpg", make_png(2))])
    source = open_published(tmp_path / "data", "mp16")
    first, second = source.items()
    assert (first.id, first.position, first.owner, first.split) == (
        "4f/a0/396.jpg",
        (48.1, 11.5),
        "11@N00",
        "train",
    )
    assert first.photo.read() == make_png(1)
    assert second.photo.read() == make_png(2)
    assert source.num_items == 2


def test_mp16_unpacked_into_nested_folders(make_png, tmp_path):
    write(tmp_path / "MP16_Pro_places365.csv", MP16)
    write(tmp_path / "4f" / "a0" / "396.jpg", make_png(1))
    first, second = open_published(tmp_path, "mp16").items()
    assert first.photo == tmp_path / "4f" / "a0" / "396.jpg"
    assert second == BuildError("bd/91/7.jpg", "its photo is not there")


def test_osv5m_has_two_splits_and_ids_without_suffix(make_png, tmp_path):
    head = "id,latitude,longitude,country,creator_username,creator_id\n"
    write(tmp_path / "train.csv", head + "123,-43.8,-176.6,NZ,roadroid,900\n")
    write(tmp_path / "test.csv", head + "77,10,20,TD,x,901\n78,,,,,\n")
    write(tmp_path / "images" / "train" / "00" / "123.jpg", make_png(1))
    write(tmp_path / "images" / "test" / "03" / "77.jpg", make_png(2))
    one, two, bad = open_published(tmp_path, "osv5m").items()
    assert (one.id, one.position, one.owner, one.split) == ("123", (-43.8, -176.6), "900", "train")
    assert (two.split, two.photo.name) == ("test", "77.jpg")
    assert bad == BuildError("78", "its position is empty; give degrees")


@pytest.mark.parametrize("name", ["yfcc4k", "im2gps3k"])
def test_benchmarks_with_photos_elsewhere(make_png, tmp_path, name):
    write(tmp_path / "meta" / f"{name}_places365.csv", "IMG_ID,AUTHOR,LAT,LON,S3_Label\n1_2_3.jpg,me,1,2,0\n")
    write(tmp_path / "photos" / "1_2_3.jpg", make_png(1))
    table = tmp_path / "meta" / f"{name}_places365.csv"
    (item,) = open_published(table, name, tmp_path / "photos").items()
    assert (item.id, item.owner, item.split, item.position) == ("1_2_3.jpg", "me", "test", (1.0, 2.0))


def test_what_is_not_that_data_set_is_refused(make_png, tmp_path):
    with pytest.raises(InputError, match=r"has no yfcc4k_places365\.csv; give the folder of yfcc4k"):
        open_published(tmp_path, "yfcc4k")
    write(tmp_path / "yfcc4k_places365.csv", "name,LAT\na,1\n")
    with pytest.raises(InputError, match=r"is not the table of yfcc4k.*found: name, lat"):
        open_published(tmp_path, "yfcc4k")
    write(tmp_path / "yfcc4k_places365.csv", "IMG_ID,LAT,LON\n")
    with pytest.raises(InputError, match="no rows"):
        open_published(tmp_path, "yfcc4k")
    write(tmp_path / "yfcc4k_places365.csv", "IMG_ID,LAT,LON\na.jpg,1,2\n")
    with pytest.raises(InputError, match=r"holds no photos.*--images"):
        list(open_published(tmp_path, "yfcc4k").items())


def test_an_index_over_tars_and_folders(make_tar, make_png, tmp_path):
    make_tar("p/a.tar", [("x/1.jpg", make_png(1)), ("notes.txt", b"")])
    write(tmp_path / "p" / "deep" / "2.png", make_png(2))
    index = PhotoIndex(tmp_path / "p")
    assert isinstance(index.find("1.jpg"), TarSlice)
    assert index.find("2.png") == tmp_path / "p" / "deep" / "2.png"
    assert index.find("3.png") is None
