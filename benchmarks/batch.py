"""How many photos a second does a long batch take, does its memory stay flat, and where does the time go?

Runs `geotoken locate --out` as its user would, on N photos repeated from a folder, and looks at it once a
second from outside: rows in the journal, resident memory of all its processes. Then the parts of the work are
timed one by one on some of the photos, in one thread. CPU time is that of all processes, so it says what a
photo costs also on a machine that is busy with other things; Linux only. A figure in the docs comes from
`benchmarks/results/batch.json`, written by `--out`.

    python benchmarks/batch.py FOLDER --num-photos 5000 --out benchmarks/results/batch.json
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from common import memory_bytes, provenance, write_json
from geotoken.cli.batch import choose_workers
from geotoken.decoding import decode, posterior, score_prefixes
from geotoken.images.read import find_images, read
from geotoken.pipeline import EPSILON, LocateOptions, Locator
from geotoken.places import nearest
from geotoken.selection import select


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="photos; few are repeated")
    parser.add_argument("--num-photos", type=int, default=400)
    parser.add_argument("--workers", type=int, help="processes; the command's own choice when not given")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--num-profiled", type=int, default=100, help="photos whose parts are timed")
    parser.add_argument("--out", type=Path, help="write the JSON to this file")
    args = parser.parse_args()
    photos = find_images([args.folder])
    step = max(1, len(photos) // args.num_profiled)
    found = {
        **measure_batch(photos, args.num_photos, args.workers, args.model),
        "cpu_ms_per_photo_of_parts": profile(photos[::step][: args.num_profiled], args.model),
        **provenance(),
    }
    print(write_json(found, args.out), end="")


def measure_batch(photos: list[Path], num_photos: int, workers: int | None, model: str) -> dict[str, Any]:
    """Run the command on links to photos, and look at it while it runs."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "photos")
        folder.mkdir()
        for number, photo in enumerate(islice(cycle(photos), num_photos)):
            (folder / f"{number:06}{photo.suffix}").symlink_to(photo.resolve())
        flags = ["--model", model, *(["--workers", str(workers)] if workers else [])]
        out, journal = Path(temporary, "out.csv"), Path(temporary, "out.csv.partial.jsonl")
        command = [sys.executable, "-m", "geotoken", "locate", str(folder), "--out", str(out), *flags]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seen, num_bytes, num_rows = [], 0, 0
        while process.poll() is None:
            time.sleep(1)
            if journal.exists():
                with journal.open("rb") as file:
                    file.seek(num_bytes)
                    new = file.read()
                num_bytes, num_rows = num_bytes + len(new), num_rows + new.count(b"\n")
            memory = [_resident_mb(one) for one in _tree(process.pid)]
            if memory:
                seconds = round(time.perf_counter() - start, 1)
                seen.append([seconds, max(num_rows - 1, 0), round(memory[0]), round(sum(memory))])
        seconds = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak_mb = max(one[3] for one in seen)
    steady = [one for one in seen if one[1] >= num_photos // 10 and one[3] > peak_mb / 2] or seen
    thin = -(-len(seen) // 25)
    return {
        "num_photos": num_photos,
        "workers": choose_workers(workers, num_photos),
        "exit_code": process.returncode,
        "seconds": seconds,
        "photos_per_s": num_photos / seconds,
        "cpu_s": cpu_s,
        "cpu_ms_per_photo": 1000 * cpu_s / num_photos,
        "cpus_used": cpu_s / seconds,
        "peak_mb": peak_mb,
        "mb_after_a_tenth": steady[0][3],
        "mb_at_the_end": steady[-1][3],
        "over_time": [
            dict(zip(("seconds", "photos", "parent_mb", "all_mb"), one, strict=True)) for one in seen[::thin]
        ],
    }


def profile(photos: list[Path], model: str) -> dict[str, float]:
    """CPU time of each part of locating a photo, one after the other in one thread, in ms a photo."""
    locator = Locator.from_pretrained(model, num_threads=1)
    locator.locate(photos[0]).to_dict()
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        value = call(*arguments, **options)
        spent[name] += 1000 * (time.process_time() - start) / len(photos)
        return value

    decoding, scheme = LocateOptions().decoding, locator.model.scheme
    for path in photos:
        photo = timed("read", read, path, min_side=locator.encoder.min_side)
        vectors = timed("embed", locator.encoder.embed, [photo.pixels])
        evidence = timed("search", locator.gallery.search, vectors, locator.num_neighbors)[0].to_evidence()
        memory = timed("weigh", locator.model.encode, [evidence])
        whole = timed("posterior", posterior, locator.model, memory, EPSILON)[0]
        candidates = timed("decode", decode, locator.model, memory, decoding)[0]
        extra = (evidence.neighbor_lat, evidence.neighbor_lng)
        utility = locator.utility
        chosen = timed("select", select, "mbr", candidates, whole, utility=utility, extra=extra)
        tokens = scheme.encode(chosen.lat, chosen.lng)
        timed("score", score_prefixes, locator.model, memory, tokens[None, None])
        timed("name", nearest, [chosen.lat], [chosen.lng])
        timed("radii", lambda w, c: [w.radius_km(c.lat, c.lng, p) for p in (0.5, 0.9)], whole, chosen)
    return dict(spent)


def _tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        children = [Path(f"/proc/{pid}/task/{task}/children").read_text().split() for task in tasks]
    except OSError:
        return []
    return [pid, *(found for group in children for child in group for found in _tree(int(child)))]


def _resident_mb(pid: int) -> float:
    return memory_bytes(pid=pid) / 2**20


if __name__ == "__main__":
    main()
