from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")

from geotoken.errors import ArtifactError, InputError
from geotoken.scale.storage import Place, place_of


@pytest.fixture(params=["path", "uri"])
def place(request, tmp_path):
    """A folder by its path, and by a URI: the way that object stores take."""
    return place_of(tmp_path / "store" if request.param == "path" else f"fsspec+file://{tmp_path}/store")


def test_files_are_put_listed_read_and_removed(place, tmp_path):
    assert (place.kind(), place.files()) == ("nothing", [])
    (place / "a.txt").put_bytes(b"first")
    (place / "a.txt").put_bytes(b"second")
    made = tmp_path / "made"
    made.write_bytes(b"1" * 3_000_000)
    (place / "sub" / "b.bin").put(made)
    assert place.kind() == "folder"
    assert place.files() == [("a.txt", 6)]
    assert place.files(recursive=True) == [("a.txt", 6), ("sub/b.bin", 3_000_000)]
    assert (place / "a.txt").kind() == "file"
    assert (place / "a.txt").read() == b"second"
    with (place / "sub" / "b.bin").fetched() as path:
        assert path.name == (place / "sub" / "b.bin").name == "b.bin"
        assert path.read_bytes() == made.read_bytes()
    assert path.exists() == place.is_local
    assert sorted(one.name for one in (tmp_path / "store").rglob("*")) == ["a.txt", "b.bin", "sub"]
    place.remove()
    place.remove()
    assert not (tmp_path / "store").exists()


def test_what_is_absent_is_an_error_of_the_system(place):
    with pytest.raises(OSError, match="nothing"):
        (place / "nothing").read()
    if not place.is_local:
        with pytest.raises(OSError, match="nothing"), (place / "nothing").fetched():
            pass


def test_what_cannot_be_written_is_named(place, tmp_path):
    (tmp_path / "store").write_bytes(b"a file where a folder should be")
    with pytest.raises(ArtifactError, match=r"store/a\.txt cannot be written"):
        (place / "a.txt").put_bytes(b"")


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("s3://bucket/key", "s3://bucket/key"),
        (Path("s3://bucket/key"), "s3://bucket/key"),
        ("file:///data/photos", "/data/photos"),
        ("/data/photos/", "/data/photos"),
        ("C:/photos", str(Path("C:/photos").absolute())),
        ("photos", str(Path("photos").absolute())),
    ],
)
def test_paths_and_uris(given, uri):
    assert place_of(given) == Place(uri)


def test_impossible_places():
    with pytest.raises(InputError, match="an empty path"):
        place_of("")
    with pytest.raises(InputError, match="nope://x cannot be opened"):
        place_of("nope://x").kind()
