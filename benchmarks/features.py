"""How much memory and time do random batches of a feature store of training size take?

Makes a store of 4.1 million rows and three modalities of 768 numbers whose vectors are holes in sparse files
(19 GB in length, a few hundred MB on disk), opens it without reading every sum, and reads random batches in a
process of its own. Holes are read as zeros from the page cache, so this measures the reader, not a disk.

`--json` prints the figures; `--out FILE` keeps them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from common import memory_bytes, provenance
from geotoken.features import FeatureStore
from geotoken.features.shard import header, row_key, write_table
from geotoken.features.store import FORMAT_VERSION, KIND
from geotoken.manifest import file_entry, write_manifest

MODALITIES = ("image", "location", "text")
LIMIT_MB = 1000
"""Anonymous memory of the reader must stay below this."""


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4_100_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--shard-rows", type=int, default=65_536)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--batch-rows", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)  # the process that only reads
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read_batches(args)))
        return
    settings = {
        name: getattr(args, name) for name in ("rows", "dim", "shard_rows", "batches", "batch_rows", "seed")
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "store"
        make_sparse_store(folder, args)
        flags = [
            text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))
        ]
        command = [sys.executable, __file__, "--read", str(folder), *flags]
        measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        on_disk = sum(path.stat().st_blocks * 512 for path in folder.iterdir())
        length = sum(path.stat().st_size for path in folder.iterdir())
    report = {
        **provenance(),
        "load": round(os.getloadavg()[0], 1),
        **settings,
        "modalities": len(MODALITIES),
        "store_gb": round(length / 1e9, 2),
        "store_on_disk_mb": round(on_disk / 1e6, 1),
        **measured,
        "limit_mb": LIMIT_MB,
    }
    text = json.dumps(report, indent=1) + "\n"
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text if args.json else f"{measured}, limit {LIMIT_MB} MB")


def make_sparse_store(folder: Path, args: argparse.Namespace) -> None:
    """Write a store whose keys and tables are real and whose vectors are holes; their sums are made up."""
    folder.mkdir()
    random = np.random.default_rng(args.seed)
    known: dict[str, dict[str, object]] = {}
    shards = []
    for start in range(0, args.rows, args.shard_rows):
        num_rows = min(args.shard_rows, args.rows - start)
        ids = [f"photo-{start + row}" for row in range(num_rows)]
        keys = np.array([row_key(one) for one in ids], dtype=np.int64)
        lat, lng = random.uniform(-60, 70, num_rows), random.uniform(-180, 180, num_rows)
        rows = [
            {"id": one, "owner": f"owner-{row % 9973}", "split": "train", "lat": lat[row], "lng": lng[row]}
            for row, one in enumerate(ids)
        ]
        stem = f"{len(shards):05}"
        shards.append(stem)
        write_table(folder / f"{stem}.parquet", keys, rows)
        known[f"{stem}.parquet"] = file_entry(folder / f"{stem}.parquet")
        for name in MODALITIES:
            path = folder / f"{stem}.{name}.safetensors"
            with path.open("wb") as file:
                file.write(header(num_rows, args.dim) + keys.tobytes())
                file.truncate(file.tell() + 2 * num_rows * args.dim)
            known[path.name] = {"sha256": "0" * 64, "bytes": path.stat().st_size}
    modalities = {name: {"dim": args.dim, "encoder": "none"} for name in MODALITIES}
    extra = {"modalities": modalities, "shards": shards}
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION, extra=extra, known=known)


def read_batches(args: argparse.Namespace) -> dict[str, float]:
    """Open the store, read random batches, and tell memory and speed."""
    before = anonymous_mb()
    start = time.perf_counter()
    store = FeatureStore.open(args.read, verify=False)
    opened_s = time.perf_counter() - start
    after_open = anonymous_mb()
    random = np.random.default_rng(args.seed)
    highest = after_open
    start = time.perf_counter()
    for _ in range(args.batches):
        store.batch(random.integers(0, len(store), args.batch_rows))
        highest = max(highest, anonymous_mb())
    seconds = time.perf_counter() - start
    random = np.random.default_rng(args.seed)
    num_again = min(200, args.batches)
    start = time.perf_counter()
    for _ in range(num_again):  # the same rows, whose pages are there by now
        store.batch(random.integers(0, len(store), args.batch_rows))
    again = time.perf_counter() - start
    return {
        "open_s": round(opened_s, 1),
        "anonymous_mb_before": before,
        "anonymous_mb_opened": after_open,
        "anonymous_mb_highest": highest,
        "rows_per_s": round(args.batches * args.batch_rows / seconds),
        "rows_per_s_again": round(num_again * args.batch_rows / again),
    }


def anonymous_mb() -> float:
    """Memory of this process that is no file's (RssAnon), in MB."""
    return round(memory_bytes("RssAnon") / 1e6, 1)


if __name__ == "__main__":
    main()
