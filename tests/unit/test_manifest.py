import hashlib
import json

import pytest

from geotoken.errors import ArtifactError
from geotoken.manifest import (
    MANIFEST_NAME,
    damaged_files,
    file_entry,
    read_manifest,
    verify_manifest,
    write_manifest,
)

KIND = "geotoken-test"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "artifact"
    (root / "sub").mkdir(parents=True)
    (root / "weights.bin").write_bytes(bytes(range(256)) * 40)
    (root / "sub" / "töken.txt").write_text("café", encoding="utf-8")
    (root / ".hidden").write_text("not part of it")
    write_manifest(root, kind=KIND, format_version=2, extra={"made_for": "tests"})
    return root


def edit(root, change):
    manifest = json.loads((root / MANIFEST_NAME).read_text(encoding="utf-8"))
    change(manifest)
    (root / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")


def test_manifest_lists_each_file_with_hash_and_size(folder):
    content = (folder / "weights.bin").read_bytes()
    manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    assert set(manifest["files"]) == {"weights.bin", "sub/töken.txt"}
    assert manifest["files"]["weights.bin"] == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": 10240,
    }
    assert (manifest["format"], manifest["format_version"], manifest["made_for"]) == (KIND, 2, "tests")


def test_an_intact_folder_verifies_and_returns_its_manifest(folder):
    assert verify_manifest(folder, KIND, 2)["made_for"] == "tests"
    assert verify_manifest(str(folder), KIND, 3)["format_version"] == 2


def test_unlisted_files_are_ignored_and_no_temporary_file_stays(folder):
    (folder / "notes.txt").write_text("mine")
    verify_manifest(folder, KIND, 2)
    assert {path.name for path in folder.iterdir()} == {
        "weights.bin",
        "sub",
        ".hidden",
        "notes.txt",
        MANIFEST_NAME,
    }


def test_a_manifest_in_a_subfolder_is_a_file_like_any_other(tmp_path):
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "a").write_text("a")
    write_manifest(inner, kind="inner", format_version=1)
    write_manifest(tmp_path / "outer", kind="outer", format_version=1)
    assert set(verify_manifest(tmp_path / "outer", "outer", 1)["files"]) == {
        "inner/a",
        f"inner/{MANIFEST_NAME}",
    }
    verify_manifest(inner, "inner", 1)
    edit(inner, lambda manifest: manifest.update(note="changed"))
    with pytest.raises(ArtifactError, match=r"inner/manifest\.json has"):
        verify_manifest(tmp_path / "outer", "outer", 1)


def test_writing_again_replaces_the_manifest(folder):
    (folder / "weights.bin").write_bytes(b"new")
    write_manifest(folder, kind=KIND, format_version=1)
    assert verify_manifest(folder, KIND, 1)["files"]["weights.bin"]["bytes"] == 3


def test_a_missing_file_is_named(folder):
    (folder / "sub" / "töken.txt").unlink()
    with pytest.raises(ArtifactError, match=r"töken\.txt is missing"):
        verify_manifest(folder, KIND, 2)


def test_a_truncated_file_is_named_with_both_sizes(folder):
    path = folder / "weights.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"weights\.bin has 10239 bytes instead of 10240"):
        verify_manifest(folder, KIND, 2)


def test_one_flipped_bit_is_found(folder):
    path = folder / "weights.bin"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights\.bin was changed"):
        verify_manifest(folder, KIND, 2)


def test_a_newer_format_asks_for_an_upgrade(folder):
    with pytest.raises(ArtifactError, match=r"newer geotoken \(format 2, this one reads up to 1\); upgrade"):
        verify_manifest(folder, KIND, 1)


def test_another_kind_is_refused(folder):
    with pytest.raises(ArtifactError, match='is "geotoken-test", not "geotoken-gallery"'):
        verify_manifest(folder, "geotoken-gallery", 2)


@pytest.mark.parametrize("version", [None, 0, -1, "2", 1.5, True])
def test_a_version_that_is_no_version_is_refused(folder, version):
    edit(folder, lambda manifest: manifest.update(format_version=version))
    with pytest.raises(ArtifactError, match="no valid format_version"):
        verify_manifest(folder, KIND, 2)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null", b"[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(folder, content):
    (folder / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"not readable JSON|not a JSON object"):
        verify_manifest(folder, KIND, 2)


@pytest.mark.parametrize("files", [None, {}, [], "weights.bin"])
def test_a_manifest_without_files_is_refused(folder, files):
    edit(folder, lambda manifest: manifest.update(files=files))
    with pytest.raises(ArtifactError, match="lists no files"):
        verify_manifest(folder, KIND, 2)


@pytest.mark.parametrize("entry", [None, "abc", {}, {"sha256": 1, "bytes": 10240}])
def test_an_entry_without_a_hash_is_refused(folder, entry):
    edit(folder, lambda manifest: manifest["files"].update({"weights.bin": entry}))
    with pytest.raises(ArtifactError, match=r'no sha256 for "weights\.bin"'):
        verify_manifest(folder, KIND, 2)


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "sub/../../outside",
        "/etc/hostname",
        "..\\outside",
        "C:\\outside",
        "C:outside",
        "\\\\host\\x",
        "",
        "a\0b",
    ],
)
def test_a_name_outside_the_folder_is_refused_even_if_its_hash_is_right(folder, name):
    content = b"secret"
    (folder.parent / "outside").write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit(folder, lambda manifest: manifest["files"].update({name: entry}))
    with pytest.raises(ArtifactError, match="outside the folder"):
        verify_manifest(folder, KIND, 2)


def test_a_missing_manifest_and_a_missing_folder_are_told_apart(folder):
    (folder / MANIFEST_NAME).unlink()
    with pytest.raises(ArtifactError, match=r"has no manifest\.json"):
        verify_manifest(folder, KIND, 2)
    with pytest.raises(ArtifactError, match="is not a folder"):
        verify_manifest(folder / "nowhere", KIND, 2)
    with pytest.raises(ArtifactError, match="is not a folder"):
        write_manifest(folder / "nowhere", kind=KIND, format_version=1)


def test_a_manifest_without_a_format_says_so(folder):
    (folder / MANIFEST_NAME).write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"manifest\.json has no format; "):
        verify_manifest(folder, KIND, 2)


def test_extra_entries_must_not_hide_those_of_the_manifest(folder):
    for name in ("format", "format_version", "files"):
        with pytest.raises(ArtifactError, match=f'already has an entry "{name}"'):
            write_manifest(folder, kind=KIND, format_version=1, extra={name: 1})


def test_a_manifest_is_read_without_its_files(folder):
    (folder / "weights.bin").unlink()
    assert read_manifest(folder)["format"] == KIND
    assert read_manifest(folder, KIND, 2)["format_version"] == 2
    with pytest.raises(ArtifactError, match="newer geotoken"):
        read_manifest(folder, KIND, 1)


def test_every_damaged_file_is_listed(folder):
    manifest = read_manifest(folder)
    assert damaged_files(folder, manifest) == []
    (folder / "weights.bin").write_bytes(bytes(10240))
    assert damaged_files(folder, manifest) == ["weights.bin"]
    (folder / "sub" / "töken.txt").unlink()
    assert set(damaged_files(folder, manifest)) == set(manifest["files"])


def test_sums_taken_before_are_not_taken_again(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    known = {"a": {"sha256": "0" * 64, "bytes": 1}}
    write_manifest(tmp_path, kind="k", format_version=1, known=known)
    files = read_manifest(tmp_path)["files"]
    assert files["a"] == known["a"]
    assert files["b"] == file_entry(tmp_path / "b")
