"""What do recorded answers of a multimodal model add to geotoken, and geotoken to them?

Owner-disjoint cross-validation on an evidence table, with the folds, networks and rows of `evidence.py`: fuse
is its model with the guess. Beside it the recorded answers alone, geotoken alone, and free, which takes the
recorded answer wherever there is one. The recorded model never saw a candidate, so free is only simulated.
Intervals are by a bootstrap over photographers, of differences paired by photo. Needs [dev].

A run with the `--work` folder of `evidence.py` takes its rows from there and trains nothing.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from common import provenance, write_json
from evidence import UTILITIES, Study, figures, mean_over_seeds, measured, run
from geotoken.evaluate import baseline_rows
from geotoken.evaluate.intervals import Measured, clusters, interval, resample
from geotoken.evaluate.records import Row
from geotoken.metrics import THRESHOLDS_KM
from geotoken.mllm import is_simulated

ACCURACIES = [f"acc_at_{radius_km}km" for radius_km in THRESHOLDS_KM]
PAIRS = (("fuse", "recorded"), ("fuse", "geotoken"), ("free", "recorded"), ("fuse", "free"))
"""Differences that are reported, the first minus the second."""


def free(own: Sequence[Row], recorded: Sequence[Row]) -> list[Row]:
    """The recorded answer to each photo, or geotoken's own where there is none."""
    return [
        dict(mine, lat=theirs["lat"], lng=theirs["lng"]) if theirs["status"] == "ok" else mine
        for mine, theirs in zip(own, recorded, strict=True)
    ]


def difference(
    first: Sequence[Sequence[Row]], second: Sequence[Sequence[Row]], owner: Sequence[str]
) -> dict[str, Any]:
    """Mean difference in accuracy over the repetitions, with its interval."""
    cluster = clusters(owner)
    means, drawn = [], []
    for runs in (first, second):
        averaged = mean_over_seeds([measured(rows) for rows in runs])
        averaged = {name: averaged[name] for name in ACCURACIES}
        means.append(averaged)
        drawn.append(resample(Measured(means=averaged), cluster))
    return {
        name: {
            "difference": float((means[0][name] - means[1][name]).mean()),
            "ci95": interval(drawn[0][name] - drawn[1][name]),
        }
        for name in ACCURACIES
    }


def main() -> None:
    """Run or read the cross-validation, and print or write its figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evidence", type=Path, help="evidence table with guess_*, Parquet")
    parser.add_argument("--model", type=Path, required=True, help="mixture folder: its priors are used")
    parser.add_argument("--utility", default="2,1,2,2,2", choices=UTILITIES["network"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="repetitions with other folds")
    parser.add_argument("--work", type=Path, help="folder for finished parts of the run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(args.evidence, args.model, args.folds)
    owner, k = study.table.owner, UTILITIES["network"].index(args.utility)
    runs = [run(study, "network", seed, args.work) for seed in range(args.seeds)]
    recorded = baseline_rows(study.cases[True])["guess"]
    own = [[each[k] for each in one[False]] for one in runs]
    systems = {
        "recorded": [recorded],
        "geotoken": own,
        "fuse": [[each[k] for each in one[True]] for one in runs],
        "free": [free(rows, recorded) for rows in own],
    }
    result: dict[str, Any] = {
        "n": len(owner),
        "num_without_recorded_answer": sum(row["status"] != "ok" for row in recorded),
        "folds": args.folds,
        "seeds": args.seeds,
        "utility": args.utility,
        "systems": {
            name: {"simulated": name == "free" and is_simulated(name), **figures(rows, owner, None)}
            for name, rows in systems.items()
        },
        "differences": {
            f"{first} minus {second}": difference(systems[first], systems[second], owner)
            for first, second in PAIRS
        },
    }
    print(write_json(provenance(args.evidence) | result, args.out), end="")


if __name__ == "__main__":
    main()
