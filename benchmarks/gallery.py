"""How long does a gallery search take, how long does a gallery take to load, and how big can it grow?

Makes a gallery of random vectors (default 100,000 of 512 numbers) and times it. Then makes one of a million
clustered vectors of 384 numbers under an approximate index, and measures it in a process that only loads and
searches (`--big-photos 0` leaves that out; it takes some minutes and 4 GB of disk); and a smaller one under
every kind of index (`--kinds-photos 0` leaves that out).

`--json` prints the figures; `--out FILE` keeps them. A figure in the docs comes from
`benchmarks/results/gallery.json`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from common import memory_bytes, provenance
from geotoken.gallery import Exclusion, Gallery, GalleryTable
from geotoken.gallery.kinds import KINDS
from geotoken.gallery.write import INDEX_NAME, write_gallery
from geotoken.manifest import verify_manifest, write_manifest

LIMIT_MS = 15.0
"""A query must take less than this at 100,000 x 512 on 2 cores."""

LIMIT_MB, LIMIT_RECALL = 200.0, 0.95
"""A million vectors must be searched with less memory than this, and at least this recall@15 of exact."""

BIG_DIM, BIG_K, BIG_QUERIES = 384, 15, 200
PIECE = 10_000


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
    parser.add_argument("--big-photos", type=int, default=1_000_000, help="0 leaves the big gallery out")
    parser.add_argument("--big-index", default="ivfpq", help="its kind of index")
    parser.add_argument(
        "--kinds-photos",
        type=int,
        default=100_000,
        help="a gallery under each kind of index; 0 leaves it out",
    )
    parser.add_argument(
        "--search-folder", type=Path, help=argparse.SUPPRESS
    )  # the process that only searches
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    if args.search_folder:
        print(json.dumps(search_only(args.search_folder)))
        return
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
    if args.big_photos:
        report["big"] = measure_big(args.seed, args.big_photos, args.big_index)
    if args.kinds_photos:
        report["kinds"] = {kind: measure_big(args.seed, args.kinds_photos, kind) for kind in KINDS}
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
    for name, value in report.get("big", {}).items():
        print(f"big, {name:<29} {value}")
    for kind, figures in report.get("kinds", {}).items():
        print(f"{kind}: {figures}")


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


def measure_big(seed: int, num_photos: int, kind: str) -> dict[str, object]:
    """Make a gallery of clustered vectors, search it in a fresh process, and compare with an exact search."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        queries = _clustered(seed, num_photos, 0, BIG_QUERIES)
        np.save(folder / "queries.npy", queries)
        pieces = _Pieces(seed, num_photos, queries)
        start = time.perf_counter()
        write_gallery(folder / "gallery", pieces.make(), encoder_name="random", dim=BIG_DIM, kind=kind)
        build_s = time.perf_counter() - start - pieces.seconds
        config = json.loads((folder / "gallery" / "gallery.json").read_text(encoding="utf-8"))
        command = [sys.executable, __file__, "--search-folder", str(folder)]
        searched = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        found, truth = np.load(folder / "found.npy"), pieces.nearest()
        recall = np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)])
        files = sorted((folder / "gallery").iterdir())
        return {
            "num_photos": num_photos,
            "dim": BIG_DIM,
            "k": BIG_K,
            "num_queries": BIG_QUERIES,
            "index": config["index"],
            "recall_at_15": round(float(recall), 4),
            **searched,
            "index_mb": round((folder / "gallery" / INDEX_NAME).stat().st_size / 1e6, 1),
            "disk_mb": {path.name: round(path.stat().st_size / 1e6, 1) for path in files},
            "build_s": round(build_s, 1),
            "limit_mb": LIMIT_MB,
            "limit_recall": LIMIT_RECALL,
            "under_limit": bool(searched["memory_mb"]["growth"] < LIMIT_MB and recall >= LIMIT_RECALL),
        }


def search_only(folder: Path) -> dict[str, object]:
    """Load the big gallery and search it; memory is that of this process, in MB."""
    import faiss  # noqa: F401  so that libraries do not count as the gallery's

    queries = np.load(folder / "queries.npy")
    before = _memory_mb()
    start = time.perf_counter()
    gallery = Gallery.load(folder / "gallery")
    load_s = time.perf_counter() - start
    loaded = _memory_mb()
    times, cpu_times, rows = [], [], np.full((len(queries), BIG_K), -1)
    for i in range(len(queries)):
        start, cpu_start = time.perf_counter(), time.thread_time()
        found = gallery.search(queries[[i]], BIG_K)[0]
        times.append((time.perf_counter() - start) * 1e3)
        cpu_times.append((time.thread_time() - cpu_start) * 1e3)
        rows[i, : len(found)] = found.row
    np.save(folder / "found.npy", rows)
    searched = _memory_mb()
    owner, half = (
        Exclusion(owner="owner 3", min_duplicate_similarity=0.97),
        Exclusion(within_km=10_000.0, lat=10.0, lng=10.0),
    )
    return {
        "search_ms_per_query": {
            "median": round(float(np.median(times)), 3),
            "p90": round(float(np.quantile(times, 0.9)), 3),
            "cpu": round(float(np.median(cpu_times)), 3),
            "batched": _time_ms(lambda i: gallery.search(queries, BIG_K), 3, len(queries))["median"],
            "1 % excluded": _time_ms(lambda i: gallery.search(queries[[i]], BIG_K, owner), 30)["median"],
            "half excluded": _time_ms(lambda i: gallery.search(queries[[i]], BIG_K, half), 30)["median"],
        },
        "load_s": round(load_s, 2),
        "memory_mb": {
            "process, before loading": before,
            "process, loaded": loaded,
            "process, after searches": searched,
            "process, at the end": _memory_mb(),
            "growth": round(max(loaded, searched) - before, 1),
        },
    }


class _Pieces:
    """A big gallery as it is made, with the exact neighbors of some queries; `seconds` is what that took."""

    def __init__(self, seed: int, num_photos: int, queries: np.ndarray) -> None:
        self.seconds = 0.0
        self._seed, self._num_photos, self._queries = seed, num_photos, queries
        self._rows: list[np.ndarray] = []
        self._similarities: list[np.ndarray] = []

    def make(self) -> Iterator[tuple[np.ndarray, GalleryTable]]:
        for first in range(0, self._num_photos, PIECE):
            start = time.perf_counter()
            size = min(PIECE, self._num_photos - first)
            vectors = _clustered(self._seed, self._num_photos, 1 + first, size)
            similarity = self._queries @ vectors.T
            best = np.argsort(-similarity, axis=1)[:, :BIG_K]
            self._rows.append(best + first)
            self._similarities.append(np.take_along_axis(similarity, best, axis=1))
            table = _random_table(np.random.default_rng([self._seed, first]), first, size)
            self.seconds += time.perf_counter() - start
            yield vectors, table

    def nearest(self) -> np.ndarray:
        rows, similarities = np.concatenate(self._rows, axis=1), np.concatenate(self._similarities, axis=1)
        return np.take_along_axis(rows, np.argsort(-similarities, axis=1)[:, :BIG_K], axis=1)


def _clustered(seed: int, num_photos: int, stream: int, size: int) -> np.ndarray:
    """Unit vectors like those of photos: clusters of very uneven size, much noise, a falling spectrum."""
    own = np.random.default_rng([seed, stream])
    scale = (np.arange(1, BIG_DIM + 1) ** -0.35).astype(np.float32)
    centers = _centers(seed, max(50, num_photos // 20))
    weight = np.arange(1, len(centers) + 1) ** -0.7
    cluster = own.choice(len(centers), size, p=weight / weight.sum())
    vectors = centers[cluster] + 0.75 * own.standard_normal((size, BIG_DIM), dtype=np.float32)
    vectors *= scale
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@cache
def _centers(seed: int, num_clusters: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num_clusters, BIG_DIM), dtype=np.float32)


def _random_table(rng: np.random.Generator, first: int, size: int) -> GalleryTable:
    """Rows with texts of the usual length."""
    lat, lng = np.degrees(np.arcsin(rng.uniform(-1, 1, size))), rng.uniform(-180, 180, size)
    return GalleryTable.from_rows(
        [
            {
                "id": f"folder/photo-{i:08}.jpg",
                "lat": lat[i - first],
                "lng": lng[i - first],
                "owner": f"owner {i % 100}",
                "sha256": rng.bytes(32).hex(),
                "label": f"Place number {i}",
                "attribution": f"Photographer {i % 9973}",
                "license": "CC BY-SA 4.0",
                "source_url": f"https://photos.example.org/{i:08}",
                "coord_precision": "exif",
            }
            for i in range(first, first + size)
        ]
    )


def _memory_mb() -> float:
    return round(memory_bytes() / 1e6, 1)


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
