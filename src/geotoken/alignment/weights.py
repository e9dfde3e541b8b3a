"""Weights in a safetensors file, read without its library, for the base install has none.

Owns the reading; must not know what the weights are for.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, reason_of
from geotoken.files import read_regular

_MAX_HEADER = 1 << 20


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read all arrays of a file.

    Args:
        path: A safetensors file of 32-bit floats.

    Returns:
        The arrays by name, each of any shape; all finite, read-only.

    Raises:
        ArtifactError: It is missing, damaged, or holds something else.
    """
    try:
        content = read_regular(path, path.stat().st_size)  # no larger buffer than needed
        (length,) = struct.unpack("<Q", content[:8])
        if length > min(_MAX_HEADER, len(content) - 8):
            length = 0  # which is no JSON
        entries = json.loads(content[8 : 8 + length])
        data = memoryview(content)[8 + length :]
        arrays = {name: _array(data, entry) for name, entry in entries.items() if name != "__metadata__"}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error, RecursionError) as error:
        raise ArtifactError(
            f"{path} does not hold weights ({reason_of(error)}); train or fetch it again"
        ) from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ArtifactError(f"{path} has weights in {name} that are not finite; train or fetch it again")
    return arrays


def _array(data: memoryview, entry: Any) -> NDArray[np.float32]:
    """One array.

    Raises:
        ValueError: It is not of 32-bit floats, or does not fit the file.
    """
    if entry["dtype"] != "F32":
        raise ValueError(f"its dtype is {entry['dtype']!r:.20}, not F32")
    start, stop = entry["data_offsets"]
    shape = [int(size) for size in entry["shape"]]
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if not 0 <= start <= stop <= len(data) or stop - start != 4 * count or min(shape, default=0) < 0:
        raise ValueError("an array does not fit the file")
    return np.frombuffer(data, dtype="<f4", count=count, offset=start).reshape(shape)
