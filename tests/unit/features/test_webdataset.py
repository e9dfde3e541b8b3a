import pytest

from geotoken.errors import InputError
from geotoken.features.webdataset import members, open_webdataset, read_position, tar_items
from geotoken.gallery.sources import BuildError
from geotoken.images.read import read


def test_samples_with_their_metadata(make_tar, make_png):
    files = [
        ("00/a.jpg.txt", b"not a photo"),
        ("00/a.png", make_png(1)),
        ("00/a.json", {"Latitude": "48.5", "LON": 11, "author": 17, "split": "val"}),
        ("00/b.json", {"lat": 1, "lng": 2}),
        ("00/b.png", make_png(2)),
        ("00/c.png", make_png(3)),
        ("00/d.txt", b"a caption alone"),
        ("00/e.png", make_png(5)),
        ("00/e.json", {"lat": 91, "lng": 0}),
        ("00/f.png", make_png(6)),
        ("00/f.json", b"{"),
        ("00/g.png", make_png(7)),
        ("00/g.json", {"lat": 1}),
    ]
    tar = make_tar("set-00.tar", files)
    items = list(open_webdataset(tar).items())
    assert [type(item) is BuildError for item in items] == [False, False, False, True, True, True, True]
    a, b, c = items[:3]
    assert (a.id, a.position, a.owner, a.split) == ("set-00/00/a", (48.5, 11.0), "17", "val")
    assert (b.id, b.position, b.owner) == ("set-00/00/b", (1.0, 2.0), None)
    assert (c.id, c.position) == ("set-00/00/c", None)
    assert a.photo.read() == make_png(1)
    assert read(b.photo.read()).pixels[0, 0].tolist() == [2, 14, 62]
    assert [item.image for item in items[3:]] == [f"set-00/00/{key}" for key in "defg"]


def test_photos_alone_do_without_their_metadata(make_tar, make_png):
    files = [("a.png", make_png(1)), ("a.json", b"{"), ("b.png", make_png(2)), ("b.json", {"lat": 91})]
    found = list(tar_items(make_tar("t.tar", files), with_metadata=False))
    assert [(one.id, one.position) for one in found] == [("t/a", None), ("t/b", None)]


def test_several_tars_in_order(make_tar, make_png):
    for number in (2, 1):
        tar = make_tar(f"tars/{number}.tar", [(f"{number}.png", make_png(number))])
    source = open_webdataset(tar.parent)
    assert [item.id for item in source.items()] == ["1/1", "2/2"]
    assert source.num_items is None
    assert open_webdataset(tar.parent).fingerprint == source.fingerprint
    make_tar("tars/2.tar", [("2.png", make_png(3)), ("3.png", make_png(3))])
    assert open_webdataset(tar.parent).fingerprint != source.fingerprint


@pytest.mark.parametrize("damage", ["header", "cut", "compressed"])
def test_a_damaged_tar_is_named_and_not_taken_for_a_short_one(make_tar, make_png, damage, tmp_path):
    tar = make_tar("d.tar", [(f"{number}.png", make_png(number)) for number in range(30)])
    places = [place for _, place in members(tar)]
    content = bytearray(tar.read_bytes())
    if damage == "header":
        content[places[10].offset - 300] ^= 0xFF
    elif damage == "cut":
        content = content[: places[10].offset + 20]
    else:
        content[:4] = b"\x1f\x8b\x08\x00"
    tar.write_bytes(content)
    with pytest.raises(InputError, match=r"d\.tar is damaged"):
        list(open_webdataset(tar).items())


def test_no_tar_at_all(tmp_path):
    with pytest.raises(InputError, match="holds none"):
        open_webdataset(tmp_path)


def test_positions():
    assert read_position({"lat": "1.5", "longitude": 2}) == (1.5, 2.0)
    assert read_position({"lat": "", "lng": None}) is None
    for wrong in ({"lat": 1}, {"lat": "north", "lng": 2}, {"lat": 1, "lng": 999}, {"lat": [], "lng": 2}):
        with pytest.raises(InputError):
            read_position(wrong)
