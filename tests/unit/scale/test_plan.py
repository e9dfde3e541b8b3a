import io
import json
import os
import sys
import tarfile
from contextlib import closing

import pytest

pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")

import duckdb

import geotoken.scale.plan as module
from geotoken.errors import InputError
from geotoken.features.sources import Item, TarSlice
from geotoken.gallery.sources import BuildError
from geotoken.scale.plan import block_items, plan_photos


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.png", "sub/c.webp", ".hidden/d.jpg", "note.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "photos"


def items(plan, **options):
    return [list(block_items(block.content, **options)) for block in plan.blocks]


def ids(plan):
    return [[one.id for one in block] for block in items(plan)]


def test_a_folder_in_blocks(folder):
    plan = plan_photos([folder], block_photos=2)
    assert ids(plan) == [["a.png", "b.jpg"], ["sub/c.webp"]]
    assert [block.number for block in plan.blocks] == [0, 1]
    assert items(plan)[1][0] == Item(id="sub/c.webp", photo=folder / "sub" / "c.webp", position=None)
    assert plan_photos([folder], block_photos=2) == plan
    assert plan_photos([folder], block_photos=3).fingerprint != plan.fingerprint
    (folder / "e.jpg").write_bytes(b"")
    assert plan_photos([folder], block_photos=2).fingerprint != plan.fingerprint


def test_names_that_are_no_text(folder):
    if sys.platform != "linux":
        pytest.skip("only there a name may be any bytes")
    with open(os.fsencode(folder) + b"/\xff.jpg", "wb"):
        pass
    assert "\udcff.jpg" in ids(plan_photos([folder], block_photos=9))[0]


def test_fetched_photos_are_kept_for_a_while(folder, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    for number in range(5):
        (folder / f"z{number}.jpg").write_bytes(b"%d" % number)
    (block,) = plan_photos([f"fsspec+file://{folder}"], block_photos=20).blocks
    seen = []
    with closing(block_items(block.content)) as photos:
        for one in photos:
            assert one.photo.read_bytes() == (folder / one.id).read_bytes()
            seen.append(one.photo)
            assert sum(path.exists() for path in seen) == min(2, len(seen))
    assert len(seen) == 8
    assert not any(path.exists() for path in seen)


def test_photos_called_by_their_paths(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    plan = plan_photos(["photos", folder / "b.jpg"], block_photos=9, full_names=True)
    assert ids(plan) == [["photos/a.png", "photos/b.jpg", "photos/sub/c.webp", str(folder / "b.jpg")]]
    uri = f"fsspec+file://{folder}"
    assert ids(plan_photos([uri], block_photos=9, full_names=True))[0][0] == f"{uri}/a.png"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_manifests(folder, kind):
    path = folder / f"list.{kind}"
    lines = ["image,id,lat,lng,owner,split,license,other", 'a.png,007,1.5,-2,ann,train,"CC, BY",x']
    (folder / "list.csv").write_text("\n".join([*lines, "sub/c.webp,,,,,,,"]), encoding="utf-8")
    if kind == "parquet":
        duckdb.read_csv(str(folder / "list.csv"), dtype={"id": "VARCHAR"}).write_parquet(str(path))
    first, second = items(plan_photos([path], block_photos=9))[0]
    assert first == Item(
        id="007", photo=folder / "a.png", position=(1.5, -2.0), owner="ann", split="train",
        credit={"license": "CC, BY"},
    )  # fmt: skip
    assert second == Item(id="sub/c.webp", photo=folder / "sub" / "c.webp", position=None)
    by_uri = items(plan_photos([f"fsspec+file://{path}"], block_photos=9))[0]
    assert [(one.id, one.position) for one in by_uri] == [("007", (1.5, -2.0)), ("sub/c.webp", None)]


def test_rows_that_cannot_be_used_are_told_one_by_one(folder):
    rows = ["a.png,91,0", "b.jpg,north,0", "sub/c.webp,1,", "a.png,1,1", "note.txt,2,2"]
    (folder / "list.csv").write_text("\n".join(["image,lat,lng", *rows]), encoding="utf-8")
    plan = plan_photos([folder / "list.csv"], block_photos=9)
    found = items(plan)[0]
    assert [one.reason for one in found[1:4]] == [
        "its position is north, 0.0; give degrees as numbers",
        "its position is 1.0, None; give degrees as numbers",
        "its id came before; ids must be unique",
    ]
    assert isinstance(found[0], BuildError)
    assert "91" in found[0].reason
    assert isinstance(found[4], Item)
    assert all(isinstance(one, Item) for one in items(plan, with_metadata=False)[0])


def tar(path, *names):
    with tarfile.open(path, "w") as file:
        for name in names:
            for suffix, content in (
                (".jpg", b"photo " + name.encode()),
                (".json", b'{"lat": 1, "lng": "x"}'),
            ):
                info = tarfile.TarInfo(name + suffix)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("form", ["{}", "fsspec+file://{}"])
def test_a_tar_is_a_block(folder, form):
    for path in folder.rglob("*.*"):
        if path.is_file():
            path.unlink()
    tar(folder / "b.tar", "x", "y")
    tar(folder / "a.tar", "z")
    plan = plan_photos([form.format(folder)], block_photos=9)
    assert [json.loads(block.content)["tar"].rpartition("/")[2] for block in plan.blocks] == [
        "a.tar",
        "b.tar",
    ]
    with closing(block_items(plan.blocks[1].content, with_metadata=False)) as photos:
        first, second = next(photos), next(photos)
        assert (first.id, second.id) == ("b/x", "b/y")
        assert isinstance(second.photo, TarSlice)
        assert second.photo.read() == b"photo y"
    assert "its position" in items(plan)[0][0].reason
    with pytest.raises(InputError, match="two tars of the name of"):
        plan_photos([folder, folder / "a.tar"], block_photos=9)


def test_a_photo_that_cannot_be_fetched_is_its_own_error(folder):
    plan = plan_photos([f"fsspec+file://{folder}"], block_photos=9)
    (folder / "b.jpg").unlink()
    found = items(plan)[0]
    assert [type(one) for one in found] == [Item, BuildError, Item]
    assert found[1].image == "b.jpg"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent", "does not exist"),
        ("note.txt", "neither a photo nor"),
        (".hidden/..", "photos in a block are 0"),
        ("empty", "holds neither photos nor"),
        ("bad.csv", "lacks the column image; found: picture"),
        ("none.csv", "has no rows"),
        ("blank.csv", "row 2 names no image"),
        ("bad.parquet", "cannot be read"),
    ],
)
def test_impossible_sources(folder, source, message):
    (folder / "empty").mkdir()
    (folder / "bad.csv").write_text("picture\nx\n", encoding="utf-8")
    (folder / "none.csv").write_text("image\n", encoding="utf-8")
    (folder / "blank.csv").write_text("image,lat\na.png,1\n,2\n", encoding="utf-8")
    (folder / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=message):
        plan_photos([folder / source], block_photos=0 if "block" in message else 5)
