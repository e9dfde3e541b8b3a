"""How long does an exact gallery search take, and how long does a gallery take to load?

Makes a gallery of random vectors (default 100,000 of 512 numbers) and times it. `--json` prints the figures;
`--out FILE` keeps them. A figure in the docs comes from `benchmarks/results/gallery.json`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common import provenance
from geotoken.gallery import Exclusion, Gallery, GalleryTable
from geotoken.manifest import verify_manifest, write_manifest

LIMIT_MS = 15.0
"""A query must take less than this at 100,000 x 512 on 2 cores."""


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-photos", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=15, help="neighbors of each query")
    parser.add_argument("--batch", type=int, default=64, help="queries of a batched search")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    report = {
        **provenance(),
        "load": round(os.getloadavg()[0], 1),
        "num_photos": args.num_photos,
        "dim": args.dim,
        "k": args.k,
        "batch": args.batch,
        "repeats": args.repeats,
        "seed": args.seed,
        "search_ms_per_query": measure_search(args),
        "load_ms": measure_load(args),
        "limit_ms": LIMIT_MS,
    }
    report["under_limit"] = report["search_ms_per_query"]["single"]["median"] < LIMIT_MS
    text = json.dumps(report, indent=2)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")
    if args.json:
        print(text)
        return
    for name, figures in report["search_ms_per_query"].items():
        median, p90, cpu = (figures[key] for key in ("median", "p90", "cpu"))
        print(f"search, {name:<16} {median:8.2f} ms a query (p90 {p90:.2f}, CPU {cpu:.2f})")
    for name, milliseconds in report["load_ms"].items():
        print(f"load, {name:<28} {milliseconds:8.1f} ms")


def measure_search(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Time single, batched and excluding searches."""
    rng = np.random.default_rng(args.seed)
    gallery = _random_gallery(rng, args.num_photos, args.dim)
    queries = rng.standard_normal((args.batch, args.dim), dtype=np.float32)
    some = Exclusion(owner="owner 3", min_duplicate_similarity=0.97)
    half = Exclusion(within_km=10_000.0, lat=10.0, lng=10.0)

    def each(exclude: Exclusion | None) -> Callable[[int], object]:
        return lambda i: gallery.search(queries[[i % args.batch]], args.k, exclude)

    return {
        "single": _time_ms(each(None), args.repeats),
        "batched": _time_ms(lambda i: gallery.search(queries, args.k), max(3, args.repeats // 5), args.batch),
        "1 % excluded": _time_ms(each(some), args.repeats),
        "half excluded": _time_ms(each(half), args.repeats),
    }


def measure_load(args: argparse.Namespace) -> dict[str, float]:
    """Time what a cold start pays, each in a process of its own, and the manifest of a 15 MB folder."""
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _random_gallery(rng, 1_656, 256).save(folder / "small")
        (folder / "artifact").mkdir()
        (folder / "artifact" / "weights").write_bytes(rng.bytes(15_000_000))
        write_manifest(folder / "artifact", kind="benchmark", format_version=1)
        verify = _time_ms(lambda i: verify_manifest(folder / "artifact", "benchmark", 1), args.repeats)
        load = f"from geotoken.gallery import Gallery; Gallery.load({str(folder / 'small')!r})"
        read = (
            "from pathlib import Path; from geotoken.gallery import GalleryTable; "
            f"GalleryTable.read(Path({str(folder / 'small' / 'gallery.parquet')!r}))"
        )
        base = "import numpy, geotoken.gallery"
        return {
            "manifest of 15 MB": verify["median"],
            "import duckdb": _fresh_ms(base, "import duckdb"),
            "import faiss": _fresh_ms(base, "import faiss"),
            "parquet of 1,656, with import": _fresh_ms(base, read),
            "gallery of 1,656, with imports": _fresh_ms(base, load),
            "gallery of 1,656, again": _fresh_ms(f"{base}; {load}", load),
        }


def _random_gallery(rng: np.random.Generator, num_photos: int, dim: int) -> Gallery:
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, num_photos)))
    lng = rng.uniform(-180, 180, num_photos)
    rows = [
        {"id": f"photo {i}", "lat": lat[i], "lng": lng[i], "owner": f"owner {i % 100}"}
        for i in range(num_photos)
    ]
    vectors = rng.standard_normal((num_photos, dim), dtype=np.float32)
    return Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), "random")


def _time_ms(run: Callable[[int], object], repeats: int, num_queries: int = 1) -> dict[str, float]:
    """Time of one query after one warm-up: median, 90th percentile, and median CPU time of this thread.

    The CPU time is what the search itself takes; the others also hold the waiting for a busy machine.
    """
    run(0)
    times, cpu_times = [], []
    for i in range(repeats):
        start, cpu_start = time.perf_counter(), time.thread_time()
        run(i)
        times.append((time.perf_counter() - start) * 1e3 / num_queries)
        cpu_times.append((time.thread_time() - cpu_start) * 1e3 / num_queries)
    figures = {"median": np.median(times), "p90": np.quantile(times, 0.9), "cpu": np.median(cpu_times)}
    return {name: round(float(value), 3) for name, value in figures.items()}


def _fresh_ms(setup: str, statement: str) -> float:
    """Median time of a statement in five fresh processes, after its setup."""
    script = (
        f"import time; {setup}; start = time.perf_counter(); {statement}; "
        "print((time.perf_counter() - start) * 1e3)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)
        for _ in range(5)
    ]
    return round(float(np.median(times)), 1)


if __name__ == "__main__":
    main()
