"""What every benchmark says about itself: commit, machine, data; and how it writes its figures.

Owns provenance and output; must not know what is measured.
"""

import hashlib
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def provenance(data: Path | None = None) -> dict[str, Any]:
    """Commit, machine, and the sha256 of the data file measured on, so that a figure can be read later."""
    root = Path(__file__).parent
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0] if names else cpu
    about: dict[str, Any] = {
        "commit": git.stdout.strip() or None,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    if data is not None:
        about["data"] = data.name
        about["data_sha256"] = hashlib.sha256(data.read_bytes()).hexdigest()
    return about


def write_json(value: Any, out: Path | None) -> str:
    """Format figures as JSON; also write them to a file if one is given."""
    text = json.dumps(value, indent=1) + "\n"
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    return text


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Median wall time of a call in seconds, after one call that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def memory_bytes(name: str = "VmRSS", pid: int | str = "self") -> int:
    """A figure of the memory of a process, from its status in /proc; 0 if it has ended. Linux only."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))
