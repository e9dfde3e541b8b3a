"""What do decoders, selectors and evidence buy, and what do they cost?

Asks the mixture about each photo of an evidence table (docs/experiments.md says which), its weights fitted on
the photos of other photographers (five folds), with every decoder, every selector and more or less evidence:
accuracy, the accuracy that an oracle would reach among the same candidates, and the cost as the number of
prefixes that the model scores a photo. Writes JSON, and a table and plots for the documents. Needs [dev].

All decoders run at 20 neighbors; fewer neighbors are tried with one decoder of each kind. The selectors
`similarity` and `reward` need vectors of photos, which an evidence table does not have.

    python benchmarks/ablation.py evidence.parquet --out benchmarks/results/ablation.json --docs docs
"""

import argparse
import math
import multiprocessing
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common import provenance, write_json
from evidence import Study
from geotoken.artifact import load_artifact
from geotoken.decoding import Candidates, DecodingOptions, decode, posterior
from geotoken.evaluate.plots import HEIGHT, PERCENT, WIDTH, Axis, Line, plot
from geotoken.evidence import Evidence
from geotoken.geo import haversine_km, to_xyz
from geotoken.metrics import accuracy
from geotoken.mixture import MixtureModel
from geotoken.pipeline import EPSILON
from geotoken.reward import evidence_places
from geotoken.selection import Utility, select, weighted_thresholds
from geotoken.selection.mbr import ExpectedUtility

NEIGHBORS = (1, 2, 5, 10, 15, 20)
TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
SAMPLES = (1, 5, 10, 20, 30)
BEAMS = (2, 3, 5, 10)
MAX_EXPANSIONS = 1000
SELECTORS = ("log_prob", "medoid", "mbr")
COLUMNS = (*SELECTORS, "oracle", "rows")
NUM_TIMED = 20
NUM_FOLDS = 5
STYLE = (
    "text{fill:#16202b;font:12px sans-serif}.tick{font-size:11px;fill:#55626f}.mid{text-anchor:middle}"
    ".end{text-anchor:end}.halo{paint-order:stroke;stroke:#fff;stroke-width:4px}.frame,.line{fill:none}"
    ".frame,.grid{stroke:#d9dfe5}.line{stroke-width:2}"
    + "".join(
        f".s{k}{{stroke:{color}}}circle.s{k}{{fill:{color}}}"
        for k, color in enumerate(("#c2002f", "#1464c0", "#00796b", "#7a2fb8", "#f5842c", "#37474f"))
    )
)


class Setting(NamedTuple):
    """One way to find candidates from some of the evidence."""

    guess: bool
    num_neighbors: int
    decoder: str
    """A decoder, or "posterior": the answer of mbr among all points, not only candidates."""
    size: int
    """Beam width or number of samples."""
    temperature: float

    def options(self) -> DecodingOptions:
        """The decoder's options."""
        return DecodingOptions(
            decoder=self.decoder,
            beam_width=self.size if self.decoder == "beam" else 5,
            num_samples=self.size,
            temperature=self.temperature,
            max_expansions=MAX_EXPANSIONS,
        )

    def label(self) -> str:
        """Name for people."""
        size = "" if self.decoder in ("greedy", "posterior") else f" {self.size}"
        return f"{self.decoder}{size}" + (f", T {self.temperature:g}" if self.decoder == "sample" else "")


class Counted:
    """A model that counts the prefixes it scores."""

    def __init__(self, model: Any) -> None:
        self.model, self.scheme, self.rows = model, model.scheme, 0

    def encode(self, evidence: list[Evidence]) -> Any:
        """As the model does."""
        return self.model.encode(evidence)

    def step(self, tokens: Any, memory: Any, cache: Any) -> np.ndarray:
        """As the model does."""
        self.rows += cache.num_rows
        return np.asarray(self.model.step(tokens, memory, cache))


def settings() -> list[Setting]:
    """Every setting, those of the same evidence together."""
    few = [
        ("posterior", 0, 1.0),
        ("greedy", 1, 1.0),
        ("beam", 5, 1.0),
        ("sample", 30, 0.6),
        ("sample", 30, 1.0),
    ]
    beams = [("beam", width, 1.0) for width in BEAMS]
    samples = [("sample", n, t) for t, n in product(TEMPERATURES, SAMPLES)]
    every = [*few[:2], *beams, ("best_first", 5, 1.0), *samples]
    return [
        Setting(guess, number, *rest)
        for guess, number in product((False, True), NEIGHBORS)
        for rest in (every if number == NEIGHBORS[-1] else few)
    ]


def evidence_of(whole: Evidence, setting: Setting) -> Evidence:
    """The part of the evidence that a setting sees."""
    kept = slice(0, setting.num_neighbors)
    guesses = slice(0, None if setting.guess else 0)
    return Evidence(
        neighbor_lat=whole.neighbor_lat[kept],
        neighbor_lng=whole.neighbor_lng[kept],
        neighbor_rank=whole.neighbor_rank[kept],
        guess_lat=whole.guess_lat[guesses],
        guess_lng=whole.guess_lng[guesses],
        guess_weight=whole.guess_weight[guesses],
    )


def measure(mixture: MixtureModel, utility: Utility, whole: Evidence, lat: float, lng: float) -> np.ndarray:
    """Errors in km of each selector and of the oracle, and prefixes scored, by setting, shape (S, 5)."""
    found, known = [], None
    for setting in settings():
        if (setting.guess, setting.num_neighbors) != known:
            known = (setting.guess, setting.num_neighbors)
            evidence = evidence_of(whole, setting)
            model = Counted(mixture)
            memory = model.encode([evidence])
            spread = posterior(model, memory, EPSILON)[0]
            spread_rows, worth = model.rows, ExpectedUtility(spread, utility)
        if setting.decoder == "posterior":
            candidates = decode(mixture, memory, DecodingOptions(decoder="greedy"))[0]
            points = evidence_places(evidence)
            best = select("mbr", candidates, spread, utility=utility, extra=points)
            error_km = float(haversine_km(best.lat, best.lng, lat, lng))
            found.append([np.nan, np.nan, error_km, np.nan, spread_rows])
            continue
        model.rows = 0
        candidates = decode(model, memory, setting.options())[0]
        errors_km = haversine_km(candidates.lat, candidates.lng, lat, lng)
        chosen = [select(name, candidates).candidate for name in ("log_prob", "medoid")]
        chosen.append(_best(worth, candidates))
        found.append([*errors_km[chosen], errors_km.min(), model.rows])
    return np.array(found)


def _best(worth: ExpectedUtility, candidates: Candidates) -> int:
    """The candidate of the highest expected utility under the whole posterior."""
    return int(np.argmax(worth(to_xyz(candidates.lat, candidates.lng))))


def seconds_of(mixture: MixtureModel, cases: list[Evidence], setting: Setting) -> float:
    """Median seconds to decode one photo whose evidence is encoded, nothing remembered from before."""
    times = []
    for whole in cases:
        memory = mixture.encode([evidence_of(whole, setting)])
        start = time.perf_counter()
        if setting.decoder == "posterior":
            posterior(mixture, memory, EPSILON)
        else:
            decode(mixture, memory, setting.options())
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def summarise(errors: np.ndarray, seconds: list[float]) -> list[dict[str, Any]]:
    """Figures of each setting, from its errors and costs, shape (N, S, 5)."""
    rows = []
    for k, setting in enumerate(settings()):
        columns = dict(zip(COLUMNS, errors[:, k].T, strict=True))
        figures = {
            name: accuracy(columns[name])
            for name in (*SELECTORS, "oracle")
            if not np.isnan(columns[name]).any()
        }
        rows.append(
            {**setting._asdict(), "prefixes": float(columns["rows"].mean()), "seconds": seconds[k], **figures}
        )
    return rows


def table_of(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown: percent within 25 and 200 km by selector."""
    lines = [
        "| evidence | decoder | prefixes | ms | log_prob | medoid | mbr | oracle |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        setting = Setting(**{name: row[name] for name in Setting._fields})
        neighbors = "1 neighbor" if setting.num_neighbors == 1 else f"{setting.num_neighbors} neighbors"
        evidence = f"{neighbors} + guess" if setting.guess else neighbors
        figures = [
            f"{row[name]['acc_at_25km']:.1f} / {row[name]['acc_at_200km']:.1f}" if name in row else ""
            for name in (*SELECTORS, "oracle")
        ]
        lines.append(
            f"| {evidence} | {setting.label()} | {row['prefixes']:,.0f} | {1000 * row['seconds']:.1f} "
            f"| {' | '.join(figures)} |"
        )
    return "\n".join(lines)


def plot_of(rows: list[dict[str, Any]], *, guess: bool) -> str:
    """Accuracy within 200 km against prefixes scored, at all neighbors."""
    shown = [row for row in rows if row["guess"] == guess and row["num_neighbors"] == NEIGHBORS[-1]]
    lines = []
    for decoder, selector in (
        *(("beam", name) for name in ("log_prob", "oracle")),
        *(("sample", name) for name in ("log_prob", "medoid", "mbr", "oracle")),
    ):
        points = sorted(
            (row["prefixes"], row[selector]["acc_at_200km"])
            for row in shown
            if row["decoder"] in (decoder, "greedy" if decoder == "beam" else decoder)
            and row["temperature"] == 1
        )
        name = f"{decoder}, {selector}" + (" (best of N)" if selector == "oracle" else "")
        lines.append(Line(name=name, points=points, dots=True))
    values = [value for line in lines for _, value in line.points]
    low, high = 5 * math.floor(min(values) / 5) - 15, 5 * math.ceil(max(values) / 5)  # with room for names
    ticks = [tick for tick in ((float(p), f"{p}") for p in range(0, 101, 5)) if low <= tick[0] <= high]
    x_ticks = [(float(n), f"{n}") for n in (10, 20, 50, 100, 200)]
    x = Axis(label="prefixes scored a photo (log scale)", low=9, high=330, ticks=x_ticks, log=True)
    y = Axis(label="within 200 km, %", low=low, high=high, ticks=ticks or PERCENT)
    title = f"Accuracy against compute, {'with' if guess else 'without'} the guess"
    svg = re.search(r"<svg.*</svg>", plot(title, x, y, lines), re.DOTALL)
    assert svg is not None
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{2 * HEIGHT}" '
    style = f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    opening, rest = svg.group(0).split(">", 1)
    return opening.replace("<svg ", head) + ">" + style + rest + "\n"


_mixtures: list[MixtureModel]
_utility: Utility


def _begin(folders: list[Path], weights: tuple[float, ...]) -> None:
    global _mixtures, _utility
    _mixtures, _utility = [MixtureModel.load(folder) for folder in folders], weighted_thresholds(weights)


def _measure(case: tuple[int, Evidence, float, float]) -> np.ndarray:
    return measure(_mixtures[case[0]], _utility, *case[1:])


def fit_folds(study: Study, folder: Path) -> tuple[list[Path], np.ndarray]:
    """Folders of the mixtures that were fitted without each fold, and the fold of each photo."""
    folders, fold = [], np.empty(len(study.table.image), dtype=int)
    for number, (held_out, model) in enumerate(study.models("network", 0)):
        fold[held_out] = number
        folders.append(folder / str(number))
        folders[-1].mkdir()
        model.save(folders[-1])
        print(f"fitted without fold {number}", file=sys.stderr, flush=True)
    return folders, fold


def main() -> None:
    """Measure, and write figures, table and plots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evidence", type=Path, help="evidence table, Parquet")
    parser.add_argument("--model", default="mini", help="whose priors and thresholds are used")
    parser.add_argument("--photos", type=int, help="take so many photos, evenly chosen")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--docs", type=Path, help="folder for ablation.md and the plots")
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    artifact = load_artifact(args.model)
    weights = artifact.ranked_threshold_weights
    study = Study(args.evidence, artifact.folder / "mixture", NUM_FOLDS)
    table = study.table
    chosen = np.linspace(0, len(table.image) - 1, args.photos or len(table.image)).astype(int)
    errors: list[np.ndarray] = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        folders, fold = fit_folds(study, Path(scratch))
        timed = [table.cases[i] for i in chosen[:: max(1, len(chosen) // NUM_TIMED)]][:NUM_TIMED]
        seconds = list(map(partial(seconds_of, MixtureModel.load(folders[0]), timed), settings()))
        cases = [(int(fold[i]), table.cases[i], float(table.lat[i]), float(table.lng[i])) for i in chosen]
        with ProcessPoolExecutor(args.processes, context, _begin, (folders, weights)) as pool:
            for found in pool.map(_measure, cases, chunksize=4):
                errors.append(found)
                if len(errors) % 50 == 0:
                    print(f"{len(errors)} of {len(cases)}", file=sys.stderr, flush=True)
    rows = summarise(np.stack(errors), seconds)
    about = {"n": len(chosen), "folds": NUM_FOLDS, "utility": weights, "max_expansions": MAX_EXPANSIONS}
    print(write_json(provenance(args.evidence) | about | {"settings": rows}, args.out), end="")
    if args.docs:
        (args.docs / "ablation.md").write_text(_page(rows, len(chosen)), encoding="utf-8")
        for guess, name in ((False, "ablation.svg"), (True, "ablation-guess.svg")):
            (args.docs / name).write_text(plot_of(rows, guess=guess), encoding="utf-8")


def _page(rows: list[dict[str, Any]], num_photos: int) -> str:
    return f"""# Decoders, selectors, evidence

Made by `python benchmarks/ablation.py` from its figures; do not edit. {num_photos:,} photos of Im2GPS3k, the
mixture, its weights fitted on the photos of other photographers (five folds).

Percent within 25 / 200 km by selector; `mbr` chooses among the candidates, but for the decoder `posterior`,
where it may answer with any point. `oracle` takes the candidate nearest to the truth: what a perfect selector
would reach. `prefixes` is how many prefixes the model scores for a photo, `ms` the median time of the decoder
alone, on a busy machine: a few ms either way mean nothing. `best_first` ends after {MAX_EXPANSIONS:,}
expansions at most. `mbr` needs the posterior besides, whose cost stands in the row `posterior`. The plots are
at 20 neighbors and, of samples, at temperature 1.

![Accuracy against compute, without the guess](ablation.svg)

![Accuracy against compute, with the guess](ablation-guess.svg)

{table_of(rows)}
"""


if __name__ == "__main__":
    main()
