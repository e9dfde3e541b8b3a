import subprocess
import sys
import zipfile

import numpy as np
import pytest

from geotoken.backbones import geoclip_package as package
from geotoken.errors import ArtifactError, InputError


def test_reads_the_points_of_the_release(geoclip_files):
    points = package.read_points(geoclip_files)
    assert points.shape == (100_000, 2)
    assert np.abs(points[:, 0]).max() <= 90
    assert np.abs(points[:, 1]).max() <= 180
    np.testing.assert_array_equal(points[0], [-50.943392, -72.935664])


@pytest.mark.parametrize("packed", [True, False])
def test_another_file_is_refused(tmp_path, packed):
    if packed:
        path = tmp_path / "geoclip.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(package.POINTS, "LAT,LON\n1,2\n")
    else:
        path = tmp_path
        (path / package.POINTS).parent.mkdir(parents=True)
        (path / package.POINTS).write_text("LAT,LON\n1,2\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="sha256"):
        package.read_points(path)
    with pytest.raises(InputError, match="has no geoclip/model/weights/logit"):
        package.read_file(path, package.LOGIT_SCALE)


def test_no_wheel_at_all_is_refused(tmp_path):
    (tmp_path / "x.whl").write_bytes(b"no zip")
    for path in (tmp_path / "x.whl", tmp_path / "absent.whl"):
        with pytest.raises(InputError, match=r"is not the package geoclip==1\.3\.0"):
            package.read_points(path)


def test_without_it_pip_is_asked_and_its_reason_told(monkeypatch):
    asked = []

    def run(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: Could not find a version\n")

    monkeypatch.setattr(package, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", run)
    with (
        pytest.raises(ArtifactError, match=r"\(Could not find a version\).*--heads"),
        package.geoclip_package(),
    ):
        pass
    assert asked[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in asked[0]
    assert asked[0][-1] == "geoclip==1.3.0"


def test_what_pip_fetched_is_used_and_removed(monkeypatch):
    def run(command, **options):
        wheel = command[command.index("--dest") + 1] + "/geoclip-1.3.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w"):
            pass
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(package, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", run)
    with package.geoclip_package() as path:
        assert path.is_file()
    assert not path.exists()


def test_a_path_given_is_taken(tmp_path):
    with package.geoclip_package(tmp_path) as path:
        assert path == tmp_path
