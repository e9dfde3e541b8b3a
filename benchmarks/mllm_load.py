"""Does `geotoken locate --mllm` lose, repeat or delay anything when the server is slow and faulty?

The command runs on small drawn photos against the server of the tests on loopback, which answers after 2.5 to
3.5 s and fails at the first attempt of a share of the questions: too many requests with Retry-After, internal
errors, resets, stalls, half and malformed bodies. Three runs, each with answers of its own: undisturbed;
ended by SIGTERM on the way and resumed; ended by SIGKILL and resumed. A call is paid when its whole answer
was written, also to a client that was killed meanwhile: those under way at that moment nobody can keep.

The bound is what the server's own time allows: the sum over all requests of the seconds from their arrival
to their end, for a stall until the client gave up, for Retry-After with the wait asked for, over the
concurrency.
Wall time is of the whole command, with its start; the seconds of processors that it took and the load of the
machine stand beside it, for a machine busy with other things is slower. Needs [mllm] and [dev].
"""

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from common import provenance, write_json
from mllm_server import BROKEN, MllmServer, faulty

RETRIES = 4
TIMEOUT_S = 8.0
LATENCY_S = (2.5, 3.5)


def draw_photos(folder: Path, number: int) -> None:
    """Photos of smooth random colours, 320 x 240, no two equal."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{i:04d}.jpg")


def command(server: MllmServer, photos: Path, work: Path, concurrency: int) -> list[str]:
    """The command under test."""
    return [
        *(sys.executable, "-m", "geotoken", "locate", str(photos), "--out", str(work / "answers.jsonl")),
        *("--mllm", "free", "--mllm-url", server.url, "--mllm-model", "test"),
        *("--mllm-cache", str(work / "cache"), "--mllm-concurrency", str(concurrency)),
        *("--mllm-timeout", str(TIMEOUT_S), "--mllm-retries", str(RETRIES)),
    ]


def cpu_seconds() -> float:
    """What all commands together have taken of the processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(photos: Path, work: Path, args: argparse.Namespace, end: signal.Signals | None) -> dict[str, Any]:
    """One run, ended by a signal on the way and resumed if one is given."""
    latency = random.Random(1)
    work.mkdir()
    server = MllmServer(
        faults=faulty(args.faulty), latency_s=lambda: latency.uniform(*LATENCY_S), stall_s=10 * TIMEOUT_S
    )
    with server:
        words = command(server, photos, work, args.concurrency)
        start, cpu_before_s = time.perf_counter(), cpu_seconds()
        if end is not None:
            first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while sum(server.paid.values()) < args.photos * 2 // 5:
                time.sleep(0.05)
            ended_at = time.perf_counter()
            first.send_signal(end)
            first.wait()
            words.append("--resume")
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall_s, cpu_s = time.perf_counter() - start, cpu_seconds() - cpu_before_s
        rows = [json.loads(line) for line in (work / "answers.jsonl").read_text().splitlines()]
    bound_s = sum(server.busy_s) / args.concurrency
    faults = Counter(sent.fault or "none" for sent in server.sent)
    result: dict[str, Any] = {
        "ended_by": None if end is None else end.name,
        "num_photos": args.photos,
        "num_answers": len({row["image"] for row in rows if row["status"] == "ok"}),
        "num_by_mllm": sum(row["mllm"]["used"] for row in rows),
        "num_requests": len(server.sent),
        "faults": dict(sorted(faults.items())),
        "most_attempts_of_a_question": max(server.attempts.values()),
        "most_under_way": server.most_under_way,
        "num_paid": sum(server.paid.values()),
        "num_paid_twice": sum(number > 1 for number in server.paid.values()),
    }
    if end is None:
        result |= {"wall_s": wall_s, "bound_s": bound_s, "wall_over_bound": wall_s / bound_s}
        result |= {"cpu_s": cpu_s, "load_average_5_min": os.getloadavg()[1]}
    else:
        before = {question for question, at in server.paid_at if at < ended_at}
        result["num_paid_when_ended"] = len(before)
        result["num_of_those_paid_twice"] = sum(server.paid[question] > 1 for question in before)
    return result


def main() -> None:
    """Run the three and print or write what was counted as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--faulty", type=float, default=0.2, help="share of questions that fail at first")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    about = provenance()  # of what runs, also if it is edited meanwhile
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        draw_photos(photos, args.photos)
        runs = [
            measure(photos, Path(scratch) / f"run{i}", args, end)
            for i, end in enumerate((None, signal.SIGTERM, signal.SIGKILL))
        ]
    settings = {
        "faults_drawn": list(BROKEN), "share_faulty": args.faulty, "latency_s": LATENCY_S,
        "timeout_s": TIMEOUT_S, "retries": RETRIES, "concurrency": args.concurrency,
    }  # fmt: skip
    print(write_json(about | {"settings": settings, "runs": runs}, args.out), end="")


if __name__ == "__main__":
    main()
