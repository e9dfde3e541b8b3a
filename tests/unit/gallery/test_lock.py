import subprocess
import sys

import pytest

from geotoken.errors import InputError
from geotoken.gallery.lock import changing, lock_path

pytest.importorskip("fcntl")


def test_a_second_change_is_refused_until_the_first_has_ended(tmp_path):
    folder = tmp_path / "g"
    with changing(folder):
        assert lock_path(folder).exists()
        with (
            pytest.raises(InputError, match=r"another run is changing the gallery .*g; wait"),
            changing(folder),
        ):
            pytest.fail("there were two")
        with changing(tmp_path / "other"):
            pass
    assert list(tmp_path.iterdir()) == []
    with changing(folder):
        pass


def test_a_change_that_fails_lets_go(tmp_path):
    with pytest.raises(KeyboardInterrupt), changing(tmp_path / "g"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_lets_go(tmp_path):
    code = (
        "import sys, time, pathlib; from geotoken.gallery.lock import changing\n"
        "with changing(pathlib.Path(sys.argv[1])):\n    print('locked', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "g")], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="another run"), changing(tmp_path / "g"):
            pytest.fail("there were two")
    finally:
        process.kill()
        process.communicate()
    assert lock_path(tmp_path / "g").exists()
    with changing(tmp_path / "g"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_two_names_of_a_folder_have_one_lock(tmp_path):
    (tmp_path / "g").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "g")
    with (
        changing(tmp_path / "g"),
        pytest.raises(InputError, match="another run"),
        changing(tmp_path / "link"),
    ):
        pytest.fail("there were two")


def test_where_nothing_can_be_written_nothing_is_locked(tmp_path):
    with changing(tmp_path / "no" / "g"):
        assert list(tmp_path.iterdir()) == []
