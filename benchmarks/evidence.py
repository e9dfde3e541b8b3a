"""How well do the evidence models locate photos from retrieved neighbors and recorded guesses alone?

Owner-disjoint cross-validation on an evidence table (docs/experiments.md says which), repeated with other
folds. All are fitted on the other folds: the mixture with linear weights, with the scales and the prior that
it has for photos; the mixture with the network that weighs ranks; and the transformer, which begins with
weights that were trained on imagined cases (tools/fit_transformer.py). `both` is the mean of the last two
distributions. The posterior is taken on the token tree; the answer is the best point of it, among neighbors,
guesses and peaks, for each of several weightings of the five thresholds. Simple rules stand beside them.
Intervals are by a bootstrap over photographers of the mean over the repetitions. Needs [dev].

An interrupted run goes on where it was if it is given the same `--work` folder.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import fit_mixture as fit
import fit_network as net
from blend import Blend
from build_mini import NETWORK_SCALES, NUM_NEIGHBORS, RANK_ONLY, gps_points
from common import provenance, write_json
from fit_transformer import LOOP, fine_tune
from geotoken.decoding import posterior
from geotoken.evaluate import Case, baseline_rows, cases_of_evidence, load_evidence_table
from geotoken.evaluate.evidence_table import EvidenceTable
from geotoken.evaluate.intervals import Measured, clusters, estimate, interval, resample
from geotoken.evaluate.records import Row, column, failed_row
from geotoken.evaluate.run import REGION_LEVEL, leaf_nll
from geotoken.evaluate.summary import fill_errors
from geotoken.geo import EARTH_RADIUS_KM, to_xyz
from geotoken.metrics import THRESHOLDS_KM, covered
from geotoken.mixture import MixtureConfig, MixtureModel, Ranked
from geotoken.model.network import GeoTokenModel, TorchModel, load_network, save_network
from geotoken.prior import WorldPrior
from geotoken.protocol import TokenModel
from geotoken.selection.mbr import maximize
from geotoken.selection.utility import parse_utility
from simulate_evidence import Cases, pack

EPSILON = 1e-4
FORMS = ("linear", "network", "transformer", "both")
UTILITIES = {"linear": ("1,1,1,1,1",)} | dict.fromkeys(FORMS[1:], ("1,1,1,1,1", "2,1,2,2,2", "2,1,2,2,3"))
"""Weights of the five thresholds that each form is asked for."""
SEEN_M = (1, 10, 100, 1000)
"""Distances from a truth to the nearest point of the prior that are reported, metres."""


def answers(model: TokenModel, case: Case, utilities: Sequence[str]) -> list[Row]:
    """A row for each utility: answer, density at the truth, credible interval of the truth, confidence."""
    evidence = case.evidence
    memory = model.encode([evidence])
    whole = posterior(model, memory, EPSILON)[0]
    lat = np.concatenate([evidence.neighbor_lat, evidence.guess_lat])
    lng = np.concatenate([evidence.neighbor_lng, evidence.guess_lng])
    low, high = whole.cut(REGION_LEVEL).credible_level_of(case.lat, case.lng, REGION_LEVEL)
    common = {
        **failed_row(case.image, case.owner, case.lat, case.lng, ""),
        "status": "ok",
        "nll": leaf_nll(model, memory, case.lat, case.lng),
        "credible_low": low,
        "credible_high": high,
    }
    rows = []
    for name in utilities:
        best = maximize(whole, parse_utility(name), lat, lng)
        sure = whole.probability_within_km(best.lat, best.lng, 25.0)
        rows.append({**common, "lat": best.lat, "lng": best.lng, "probability_25km": sure})
    return rows


class Transformer:
    """What fine-tuning needs, and what was tuned before."""

    def __init__(self, first: Path, others: Path | None, points: Path, work: Path | None) -> None:
        self.first = load_network(first)
        self.others = None if others is None else Cases.load(others)
        self.points = to_xyz(*gps_points(points))
        self.work = work

    def tuned(
        self, table: EvidenceTable, truth: NDArray[np.float64], rows: NDArray[np.int64], seed: int
    ) -> GeoTokenModel:
        """The network fitted to some photos of a table; read, if it was fitted before."""
        name = sha256(rows.tobytes()).hexdigest()[:16]
        folder = None if self.work is None else self.work / f"transformer_{seed}_{name}"
        if folder is not None and folder.exists():
            return load_network(folder)
        cases = pack([table.cases[i] for i in rows], truth[rows], NUM_NEIGHBORS)
        loop = replace(LOOP, seed=seed)
        network = fine_tune(self.first, cases, self.points, others=self.others, loop=loop)
        if folder is not None:
            folder.mkdir(parents=True)
            save_network(network, folder)
        return network


class Study:
    """The table, what fitting needs of it, and the folds."""

    def __init__(
        self, evidence: Path, model: Path, num_folds: int, transformer: Transformer | None = None
    ) -> None:
        self.transformer = transformer
        self.table = load_evidence_table(evidence, guesses=True)
        self.cases = {True: cases_of_evidence(self.table)}
        self.cases[False] = cases_of_evidence(load_evidence_table(evidence, guesses=False))
        self.truth = to_xyz(self.table.lat, self.table.lng)
        self.num_folds = num_folds
        self.config = MixtureConfig.load(model / "mixture.json")
        self.priors = {
            "linear": WorldPrior.load(model / "prior.npz"),
            "network": WorldPrior.load(model / "ranked_prior.npz"),
        }

    def models(self, form: str, seed: int) -> Iterator[tuple[NDArray[np.int64], TokenModel]]:
        """Photos of each fold with the model fitted on the others."""
        fold = fit.owner_folds(self.table.owner, self.num_folds, seed)
        if form in ("transformer", "both"):
            yield from self._transformers(form, fold, seed)
            return
        prior = self.priors[form]
        if form == "network":
            cases = net.network_cases(self.table.cases, self.truth, NETWORK_SCALES, prior)
        else:
            scales = fit.Scales(self.config.sharp_scales_km, self.config.broad_scales_km)
            features = fit.neighbor_features(self.table.cases, self.truth, scales, prior, (0.0, 1.0))
            guesses = fit.guess_features(self.table.cases, self.truth, scales, prior)
        for held_out in range(self.num_folds):
            train, test = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
            if form == "network":
                network = net.export(net.train_members(cases.rows(train)), NETWORK_SCALES, NUM_NEIGHBORS)
                yield test, MixtureModel(self.config, prior, ranked=Ranked(network, prior))
            else:
                yield test, self._linear(features, guesses, train)

    def _transformers(
        self, form: str, fold: NDArray[np.int64], seed: int
    ) -> Iterator[tuple[NDArray[np.int64], TokenModel]]:
        assert self.transformer is not None
        mixtures = self.models("network", seed) if form == "both" else None
        for held_out in range(self.num_folds):
            test = np.flatnonzero(fold == held_out)
            network = self.transformer.tuned(self.table, self.truth, np.flatnonzero(fold != held_out), seed)
            model: TokenModel = TorchModel(network)
            if mixtures is not None:
                model = Blend([model, next(mixtures)[1]], (1, 1))
            yield test, model

    def _linear(
        self, features: fit.Features, guesses: fit.Features, train: NDArray[np.int64]
    ) -> MixtureModel:
        parameters = fit.fit_neighbors(features.rows(train), np.ones(len(train)), free=RANK_ONLY)
        without_guess = fit.neighbor_log_likelihood(parameters, features.rows(train))
        guess = fit.fit_guess(guesses.rows(train), without_guess)
        trust = fit.to_neighbor_trust(parameters, (0.0, 1.0), NUM_NEIGHBORS)
        config = MixtureConfig(
            sharp_scales_km=self.config.sharp_scales_km,
            broad_scales_km=self.config.broad_scales_km,
            with_similarity=trust,
            without_similarity=trust,
            guess=fit.to_guess_trust(guess),
        )
        return MixtureModel(config, self.priors["linear"])


def run(study: Study, form: str, seed: int, work: Path | None) -> dict[bool, list[list[Row]]]:
    """Rows of every photo and utility, with and without guess; what was done before is read."""
    path = None if work is None else work / f"{form}_{seed}.json"
    if path is not None and path.exists():
        return {name == "guess": rows for name, rows in json.loads(path.read_text()).items()}
    found: dict[bool, list[Any]] = {guess: [None] * len(study.table.image) for guess in (False, True)}
    for fold, (test, model) in enumerate(study.models(form, seed)):
        for guess, rows in found.items():
            for i in test:
                rows[i] = answers(model, study.cases[guess][i], UTILITIES[form])
        print(f"{form} seed {seed} fold {fold}: {len(test)} photos", file=sys.stderr, flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"guess" if guess else "none": rows for guess, rows in found.items()}))
    return found


def measured(rows: Sequence[Row]) -> dict[str, NDArray[np.float64]]:
    """What each photo adds to each mean, shape (N,); NaN where there is no such figure."""
    error_km = fill_errors(rows, "haversine")
    values = {f"acc_at_{r}km": 100.0 * (error_km <= r) for r in THRESHOLDS_KM} | {"error_km": error_km}
    if "nll" not in rows[0]:
        return values
    levels = np.stack([column(rows, "credible_low"), column(rows, "credible_high")], axis=1)
    values |= {f"coverage_{p}": 100 * covered(levels, p / 100) for p in (50, 90)}
    values["nll"] = column(rows, "nll")
    sure = column(rows, "probability_25km")
    half = np.full(len(rows), np.nan)
    surest = np.argsort(-sure, kind="stable")[: (len(rows) + 1) // 2]
    half[surest] = values["acc_at_25km"][surest]
    values["acc_at_25km_surest_half"] = half
    return values


def mean_over_seeds(runs: Sequence[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    """Values of each photo averaged over the repetitions that have one."""
    found = {}
    for name in runs[0]:
        stack = np.stack([one[name] for one in runs])
        known = np.maximum((~np.isnan(stack)).sum(axis=0), 1)
        found[name] = np.where(np.isnan(stack).all(axis=0), np.nan, np.nansum(stack, axis=0) / known)
    return found


def figures(
    runs: Sequence[Sequence[Row]], owner: Sequence[str], reference: Sequence[Row] | None
) -> dict[str, Any]:
    """Means over the repetitions with intervals, and the difference from a reference on the same photos."""
    values = [measured(rows) for rows in runs]
    median = float(np.mean([np.median(one.pop("error_km")) for one in values]))
    each = [estimate(Measured(means=one)) for one in values]
    averaged = mean_over_seeds(values)
    cluster = clusters(owner)
    drawn = resample(Measured(means=averaged), cluster)
    result: dict[str, Any] = {
        **{name: float(np.mean([one[name] for one in each])) for name in each[0]},
        "median_error_km": median,
        "ci95": {name: interval(sample) for name, sample in drawn.items()},
    }
    if len(runs) > 1:
        result["by_seed"] = {name: [one[name] for one in each] for name in each[0]}
    if reference is not None:
        base = {k: v for k, v in measured(reference).items() if k.startswith("acc")}
        other = resample(Measured(means=base), cluster)
        result["minus_vote"] = {
            name: {
                "difference": result[name] - float(base[name].mean()),
                "ci95": interval(drawn[name] - other[name]),
            }
            for name in base
        }
    return result


def leakage(study: Study, gps: Path | None, rows: dict[bool, list[list[list[Row]]]]) -> dict[str, Any] | None:
    """Share of truths on a point of the prior, and the log-likelihood of the others."""
    if gps is None:
        return None
    nearest = cKDTree(to_xyz(*gps_points(gps))).query(study.truth)[0] * EARTH_RADIUS_KM * 1000
    found: dict[str, Any] = {}
    for limit in SEEN_M:
        far = nearest > limit
        found[f"within_{limit}m"] = {"percent": 100 * float(np.mean(~far))} | {
            ("nll_others_guess" if guess else "nll_others"): float(
                np.mean([column([each[0] for each in run], "nll")[far].mean() for run in runs])
            )
            for guess, runs in rows.items()
        }
    return found


def main() -> None:
    """Run the cross-validation and print or write its figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evidence", type=Path, help="evidence table, Parquet")
    parser.add_argument("--model", type=Path, required=True, help="mixture folder: its priors are used")
    parser.add_argument("--gps-points", type=Path, help="points of the prior, to look for leakage")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="repetitions with other folds, of the network")
    parser.add_argument("--linear-seeds", type=int, default=1, help="repetitions of linear weights")
    parser.add_argument("--transformer-seeds", type=int, default=1, help="repetitions of the transformer")
    parser.add_argument("--forms", nargs="+", default=FORMS[:2], choices=FORMS)
    parser.add_argument("--pretrained", type=Path, help="transformer that was trained on imagined cases")
    parser.add_argument("--others", type=Path, help="cases of photos that it is also fitted to")
    parser.add_argument("--work", type=Path, help="folder for finished parts of the run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformer = None
    if args.pretrained is not None and args.gps_points is not None:
        transformer = Transformer(args.pretrained, args.others, args.gps_points, args.work)
    elif {"transformer", "both"} & set(args.forms):
        parser.error("--forms transformer and both need --pretrained and --gps-points")
    study = Study(args.evidence, args.model, args.folds, transformer)
    owner = study.table.owner
    rules = baseline_rows(study.cases[True])
    votes = {False: rules["five_scale_vote"], True: rules["five_scale_vote_with_guess"]}
    systems = {name: figures([rows], owner, None) for name, rows in rules.items()}
    seeds = {"linear": args.linear_seeds, "network": args.seeds}
    seeds |= dict.fromkeys(("transformer", "both"), args.transformer_seeds)
    result: dict[str, Any] = {"n": len(owner), "folds": args.folds, "seeds": seeds, "systems": systems}
    for form in args.forms:
        runs = [run(study, form, seed, args.work) for seed in range(seeds[form])]
        for guess in (False, True):
            for k, name in enumerate(UTILITIES[form]):
                rows = [[each[k] for each in one[guess]] for one in runs]
                label = f"{form}{'_guess' if guess else ''}"
                systems.setdefault(label, {})[name] = figures(rows, owner, votes[guess])
        if form == "network":
            by_guess = {guess: [one[guess] for one in runs] for guess in (False, True)}
            result["leakage"] = leakage(study, args.gps_points, by_guess)
    print(write_json(provenance(args.evidence) | result, args.out), end="")


if __name__ == "__main__":
    main()
