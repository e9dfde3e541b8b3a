"""ONNX graphs, opened for use on the CPU.

Owns how ONNX Runtime is asked for; must not know what any graph computes.
"""

import os
from pathlib import Path
from typing import Any

from geotoken.errors import ArtifactError, reason_of


def num_cpus() -> int:
    """CPUs this process may use; not every system can tell them from those it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_graph(path: Path, num_threads: int | None, remedy: str, *, content: bytes | None = None) -> Any:
    """Open a graph.

    Args:
        path: Its file.
        num_threads: CPU threads; None takes one for each CPU this process may use.
        remedy: What to do where it cannot be opened, as the end of a message.
        content: What the file holds, if it was read already.

    Returns:
        The session of ONNX Runtime.

    Raises:
        ArtifactError: It is no graph that can be run.
    """
    import onnxruntime  # here and not above: it takes longer to import than all of geotoken

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or num_cpus()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path) if content is None else content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # or it would print on stdout before it tries the same once more
        )
    except Exception as error:
        raise ArtifactError(f"{path} cannot be loaded ({reason_of(error)}); {remedy}") from error
