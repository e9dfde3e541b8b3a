import os

import pytest

from geotoken.files import (
    cannot_write,
    check_regular,
    read_json,
    read_record,
    read_regular,
    replacing,
    replacing_folder,
    sha256_of,
    sync,
    write_whole,
)


def test_json_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, {"a": "é"}]}', encoding="utf-8")
    assert read_json(path) == {"a": [1, {"a": "é"}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"files": {"a": 1, "a": 2}}', "'a' twice"),
        (b"9" * 5000, "integer"),
    ],
)
def test_json_that_cannot_be_used_is_a_value_error(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(path)


def test_a_file_is_read_up_to_a_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_regular(path, 4)


def test_what_is_no_file_is_not_opened(tmp_path):
    with pytest.raises(OSError, match="folder"):
        check_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        check_regular(tmp_path / "no")
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with a name")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        check_regular(tmp_path / "pipe")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a"
    write_whole(path, b"old")
    with replacing(path) as beside:
        beside.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"

    def fail():
        with replacing(path) as beside:
            beside.write_bytes(b"torn")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "a" / "b"

    def write(content):
        with replacing_folder(folder) as beside:
            (beside / "inner").mkdir()
            (beside / "inner" / "file").write_text(content)
            if content == "torn":
                raise KeyboardInterrupt

    write("old")
    write("new")
    with pytest.raises(KeyboardInterrupt):
        write("torn")
    assert (folder / "inner" / "file").read_text() == "new"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_file_is_on_the_disk_before_it_is_in_its_place(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda fd: order.append(("fsync", os.fstat(fd).st_size)))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("replace"), replace(*paths)))
    write_whole(tmp_path / "a", b"12345")
    assert order == [("fsync", 5), "replace"]


def test_a_file_that_is_made_can_be_read_by_whom_the_user_allows(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_whole(tmp_path / "a", b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_folders_and_files_are_synced(tmp_path):
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "no")


def test_what_cannot_be_written_is_said_with_its_reason(tmp_path):
    assert cannot_write(tmp_path, OSError(28, "No space left on device")) == (
        f"{tmp_path} cannot be written (No space left on device); check space and permissions"
    )


def test_a_record_is_none_unless_it_is_whole(tmp_path):
    path = tmp_path / "a.json"
    assert read_record(path) is None
    path.write_text('{"a": [1')
    assert read_record(path) is None
    path.write_text('{"a": [1]}')
    assert read_record(path) == {"a": [1]}


def test_a_file_is_hashed_but_no_pipe(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        sha256_of(tmp_path / "pipe")
