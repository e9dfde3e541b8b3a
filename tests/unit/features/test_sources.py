import shutil

import pytest

from geotoken.errors import ImageError, InputError
from geotoken.features.sources import Item, TarSlice, open_items
from geotoken.gallery.sources import BuildError


def test_a_csv_with_owners_and_splits(photos_csv):
    source = open_items(photos_csv)
    items = list(source.items())
    assert source.num_items == len(items) == 20
    assert items[0] == Item(
        id="0.png", photo=photos_csv.parent / "0.png", position=(0.0, 0.0), owner="owner-0", split="val"
    )
    assert items[1].split is None
    assert isinstance(items[11], BuildError)
    assert open_items(photos_csv).fingerprint == source.fingerprint


def test_credits_are_kept(photos_csv, make_tar, make_png):
    photos_csv.write_text(
        "image,lat,lng,attribution,license,source_url\n0.png,1,2,Ann,CC BY 4.0,\n", encoding="utf-8"
    )
    (item,) = open_items(photos_csv).items()
    assert item.credit == {"attribution": "Ann", "license": "CC BY 4.0"}
    tar = make_tar("a.tar", [("x.png", make_png(1)), ("x.json", {"lat": 1, "lon": 2, "Source_URL": "u"})])
    assert next(iter(open_items(tar).items())).credit == {"source_url": "u"}


def test_a_folder_takes_positions_from_the_files(examples, tmp_path):
    shutil.copy(examples / "himeji-castle.jpg", tmp_path)
    (item,) = open_items(tmp_path).items()
    assert item == Item(id="himeji-castle.jpg", photo=tmp_path / "himeji-castle.jpg", position=None)


def test_tars_are_told_from_photos(make_tar, make_png):
    tar = make_tar("tars/a.tar", [("x.png", make_png(1)), ("x.json", {"lat": 1, "lon": 2})])
    for path in (tar, tar.parent):
        (item,) = open_items(path).items()
        assert item.id == "a/x"


def test_a_slice_reads_its_bytes(tmp_path):
    (tmp_path / "t").write_bytes(b"0123456789")
    assert TarSlice(tmp_path / "t", 3, 4).read() == b"3456"
    with pytest.raises(ImageError, match="cut short"):
        TarSlice(tmp_path / "t", 8, 4).read()
    with pytest.raises(ImageError, match="No such file"):
        TarSlice(tmp_path / "u", 0, 1).read()


def test_wrong_flags(photos_csv):
    with pytest.raises(InputError, match=r"layout \(--layout\) is 'zip'; choose one of auto, photos"):
        open_items(photos_csv, layout="zip")
    with pytest.raises(InputError, match="--images"):
        open_items(photos_csv, images=photos_csv.parent)
    with pytest.raises(InputError):
        open_items("")
