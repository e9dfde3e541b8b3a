import os

import pytest

from geotoken.files import check_regular, read_json, read_regular


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
