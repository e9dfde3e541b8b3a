"""How long do the gallery and the neighbor lists of a big feature store take, and how much memory?

Makes a store of random moments: photos of one moment look alike, and the moments of one place a little. Each
step runs in a process of its own, and its peak memory is read when it ends; the steps read the store through
the page cache, which is not counted (RssAnon). Lists are made for a sample of the rows and for K = 20, of an
owner's photos none; an exact search of a smaller sample gives their recall.

Seconds of the processor are given beside those of the clock, for a machine that does other things as well.

`--json` prints the figures; `--out FILE` keeps them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from common import provenance
from features import anonymous_mb
from geotoken.features import FeatureStore
from geotoken.features.shard import row_key, write_features, write_table
from geotoken.features.store import FORMAT_VERSION, KIND
from geotoken.gallery import Gallery
from geotoken.gallery.kinds import scan
from geotoken.manifest import write_manifest

SHARD_ROWS = 65_536
PHOTOS_A_MOMENT, MOMENTS_A_PLACE = 4, 8
RECALL_QUERIES = 100


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--batch-rows", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    if args.step:
        print(json.dumps(measured(args)))
        return
    names = ("rows", "dim", "queries", "batches", "batch_rows", "seed")
    settings = {name: getattr(args, name) for name in names}
    flags = [text for name in names for text in (f"--{name.replace('_', '-')}", str(settings[name]))]
    with tempfile.TemporaryDirectory() as scratch:
        make_store(Path(scratch) / "store", args)
        steps = {}
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--folder", scratch, *flags]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            steps[step] = json.loads(found)
            print(step, steps[step], file=sys.stderr)
        gallery_mb = sum(path.stat().st_size for path in (Path(scratch) / "out" / "gallery").iterdir()) / 1e6
    report = {
        **provenance(),
        "load": round(os.getloadavg()[0], 1),
        "cpus": len(os.sched_getaffinity(0)),
        **settings,
        "gallery_on_disk_mb": round(gallery_mb, 1),
        "steps": steps,
    }
    text = json.dumps(report, indent=1) + "\n"
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    if args.json:
        print(text)


def make_store(folder: Path, args: argparse.Namespace) -> None:
    """Write a store of 16-bit vectors, a shard at a time."""
    folder.mkdir()
    random = np.random.default_rng(args.seed)
    num_places = -(-args.rows // (PHOTOS_A_MOMENT * MOMENTS_A_PLACE))
    places = random.normal(size=(num_places, args.dim)).astype(np.float32)
    where = random.uniform([-60, -180], [70, 180], (num_places, 2))
    shards = []
    for start in range(0, args.rows, SHARD_ROWS):
        row = np.arange(start, min(start + SHARD_ROWS, args.rows))
        place, moment = row // (PHOTOS_A_MOMENT * MOMENTS_A_PLACE), row // PHOTOS_A_MOMENT
        first = int(moment[0])
        moments = random.normal(size=(int(moment[-1]) - first + 1, args.dim)).astype(np.float32)
        vectors = (
            places[place] + 0.7 * moments[moment - first] + 0.4 * random.normal(size=(len(row), args.dim))
        )
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        ids = [f"photo-{one}" for one in row]
        keys = np.array([row_key(one) for one in ids], dtype=np.int64)
        rows = [
            {
                "id": ids[i],
                "owner": f"owner-{int(moment[i]) % 9973}",
                "sha256": f"{int(row[i]):064x}",
                "split": "train",
                "lat": float(where[place[i], 0]),
                "lng": float(where[place[i], 1]),
            }
            for i in range(len(row))
        ]
        stem = f"{len(shards):05}"
        shards.append(stem)
        write_table(folder / f"{stem}.parquet", keys, rows)
        write_features(folder / f"{stem}.image.safetensors", keys, vectors.astype(np.float16))
    extra = {"modalities": {"image": {"dim": args.dim, "encoder": "none"}}, "shards": shards}
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION, extra=extra)


def measured(args: argparse.Namespace) -> dict[str, float]:
    """Run one step and watch its memory."""
    peak, stop = [anonymous_mb()], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            peak.append(max(anonymous_mb(), peak.pop()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, cpu_start = time.perf_counter(), time.process_time()
    try:
        found = STEPS[args.step](args)
    finally:
        stop.set()
        watcher.join()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "anonymous_mb_highest": round(peak[0], 1),
        **found,
    }


def make_gallery(args: argparse.Namespace) -> dict[str, float]:
    """Write the gallery of all rows."""
    from geotoken.train.neighbors import make_gallery as make

    store = FeatureStore.open(args.folder / "store", verify=False)
    start = time.perf_counter()
    gallery = make(store, np.arange(len(store)), args.folder / "out" / "gallery")
    described = gallery.info()["index"]
    return {"rows_per_s": round(len(store) / (time.perf_counter() - start)), "index": described}


def find_neighbors(args: argparse.Namespace) -> dict[str, float]:
    """Write the lists of a sample of rows."""
    from geotoken.train.neighbors import NeighborRule
    from geotoken.train.neighbors import find_neighbors as find

    store = FeatureStore.open(args.folder / "store", verify=False)
    gallery = Gallery.load(args.folder / "out" / "gallery")
    everything = np.arange(len(store))
    random = np.random.default_rng(args.seed)
    some = np.sort(random.choice(len(store), min(args.queries, len(store)), replace=False))
    start, cpu_start = time.perf_counter(), time.process_time()
    lists = find(store, (some, everything), gallery, NeighborRule(), args.folder / "out" / "lists")
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    near, _ = lists.take(np.arange(len(lists)))
    return {
        "rows_per_s": round(len(lists) / seconds),
        "rows_per_cpu_s": round(len(lists) / cpu_seconds),
        "short_lists": int((near[:, -1] < 0).sum()),
        "recall_at_20": round(recall(store, some, near, random), 4),
    }


def recall(store: FeatureStore, rows: np.ndarray, near: np.ndarray, random: np.random.Generator) -> float:
    """Share of the true 20 nearest, without those of the same owner, that some lists have."""
    picked = random.choice(len(rows), min(RECALL_QUERIES, len(rows)), replace=False)
    owner = np.arange(len(store)) // PHOTOS_A_MOMENT % 9973
    queries = units(store, rows[picked])
    blocks = (
        units(store, np.arange(start, min(start + SHARD_ROWS, len(store))))
        for start in range(0, len(store), SHARD_ROWS)
    )
    hits = []
    for one, (_, found) in zip(picked, scan(blocks, queries, 2000), strict=True):
        truth = found[owner[found] != owner[rows[one]]][: near.shape[1]]
        hits.append(np.isin(truth, near[one]).mean())
    return float(np.mean(hits))


def units(store: FeatureStore, rows: np.ndarray) -> np.ndarray:
    """Unit vectors of some rows."""
    vectors = store.batch(rows)["image"].astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def read_cases(args: argparse.Namespace) -> dict[str, float]:
    """Read random batches of evidence of the rows that have lists."""
    from geotoken.model.config import ModelConfig
    from geotoken.train.store_cases import StoreCases

    store = FeatureStore.open(args.folder / "store", verify=False)
    config = ModelConfig(
        width=64,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        feed_forward=64,
        modalities=(("image", args.dim),),
    )
    cases = StoreCases.open(store, args.folder / "out" / "lists", config)
    random = np.random.default_rng(args.seed)
    start = time.perf_counter()
    for _ in range(args.batches):
        cases.evidence(random.integers(0, len(cases), args.batch_rows))
    return {"rows_per_s": round(args.batches * args.batch_rows / (time.perf_counter() - start))}


STEPS = {"gallery": make_gallery, "lists": find_neighbors, "cases": read_cases}


if __name__ == "__main__":
    main()
