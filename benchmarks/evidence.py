"""How well does the closed-form model locate photos from retrieved evidence alone?

Owner-disjoint cross-validation on an evidence table (docs/experiments.md says which): the model's weights are
fitted on the other folds, its posterior is taken on the token tree, and the answer is its MBR point. The
nearest neighbor and a kernel vote over the neighbors stand beside it. Needs [dev].
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import fit_mixture as fit
from common import provenance, write_json
from geotoken.decoding import decode, posterior
from geotoken.evaluate.baselines import vote
from geotoken.evaluate.evidence_table import load_evidence_table
from geotoken.evaluate.run import leaf_nll
from geotoken.geo import to_xyz
from geotoken.metrics import accuracy, coverage, distance_to_truth_km
from geotoken.mixture import MixtureConfig, MixtureModel, WorldPrior
from geotoken.selection import select

FREE = ("bias", "rank_slope", "agreement_slope", "prior_bias")


def evaluate(model: MixtureModel, evidence: Any, lat: float, lng: float, epsilon: float) -> tuple[float, ...]:
    """Answer, density at the truth and credible interval of the truth for one photo."""
    memory = model.encode([evidence])
    whole = posterior(model, memory, epsilon)[0]
    candidates = decode(model, memory)[0]
    points = (
        np.concatenate([evidence.neighbor_lat, evidence.guess_lat]),
        np.concatenate([evidence.neighbor_lng, evidence.guess_lng]),
    )
    answer = select("mbr", candidates, whole, extra=points)
    closed = float(memory.densities[0].at(to_xyz([lat], [lng]))[0])
    return (
        answer.lat,
        answer.lng,
        leaf_nll(model, evidence, lat, lng),
        -np.log(closed),
        *whole.credible_level_of(lat, lng),
    )


def main() -> None:
    """Run the cross-validation and print or write its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evidence", type=Path, help="evidence table, Parquet")
    parser.add_argument(
        "--model", type=Path, required=True, help="mixture folder: its scales and prior are used"
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1, help="repetitions with other folds")
    parser.add_argument("--epsilon", type=float, default=1e-4)
    parser.add_argument("--guess", action="store_true", help="use the recorded guesses")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = load_evidence_table(args.evidence, guesses=args.guess)
    config, prior = MixtureConfig.load(args.model / "mixture.json"), WorldPrior.load(args.model / "prior.npz")
    scales = fit.Scales(config.sharp_scales_km, config.broad_scales_km)
    truth = to_xyz(table.lat, table.lng)
    features = fit.neighbor_features(table.cases, truth, scales, prior, (0.0, 1.0))
    guess_features = fit.guess_features(table.cases, truth, scales, prior)
    rows = []
    for seed in range(args.seeds):
        fold = fit.owner_folds(table.owner, args.folds, seed)
        for held_out in range(args.folds):
            train, test = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
            parameters = fit.fit_neighbors(features.rows(train), np.ones(len(train)), free=FREE)
            without_guess = fit.neighbor_log_likelihood(parameters, features)[train]
            guess = fit.fit_guess(guess_features.rows(train), without_guess)
            trust = fit.to_neighbor_trust(parameters, (0.0, 1.0), config.without_similarity.num_neighbors)
            fitted = MixtureConfig(
                sharp_scales_km=config.sharp_scales_km,
                broad_scales_km=config.broad_scales_km,
                with_similarity=trust,
                without_similarity=trust,
                guess=fit.to_guess_trust(guess),
            )
            model = MixtureModel(fitted, prior)
            with ThreadPoolExecutor(2) as pool:
                found = pool.map(
                    lambda i, m=model: (
                        i,
                        *evaluate(m, table.cases[i], table.lat[i], table.lng[i], args.epsilon),
                    ),
                    test,
                )
                rows += list(found)
            print(f"seed {seed} fold {held_out}: {len(test)} photos", file=sys.stderr, flush=True)
    result = summarise(np.array(rows), table) | {
        "guess": args.guess,
        "seeds": args.seeds,
        "folds": args.folds,
    }
    print(write_json(provenance(args.evidence) | result, args.out), end="")


def summarise(rows: np.ndarray, table: Any) -> dict[str, Any]:
    """Metrics of the model and of the two baselines on the same photos."""
    index = rows[:, 0].astype(int)
    lat, lng = table.lat[index], table.lng[index]
    voted = np.array([vote(c.neighbor_lat, c.neighbor_lng) for c in table.cases])[index]
    neighbor_lat = np.stack([table.cases[i].neighbor_lat for i in index])
    neighbor_lng = np.stack([table.cases[i].neighbor_lng for i in index])
    each = np.arange(len(index))
    answers = {
        "nearest_neighbor": (neighbor_lat[:, 0], neighbor_lng[:, 0]),
        "five_scale_vote": (neighbor_lat[each, voted], neighbor_lng[each, voted]),
        "mixture_mbr": (rows[:, 1], rows[:, 2]),
    }
    metrics = {name: accuracy(distance_to_truth_km(*answer, lat, lng)) for name, answer in answers.items()}
    calibration = {
        "nll": float(np.mean(rows[:, 3])),
        "nll_closed_form": float(np.mean(rows[:, 4])),
        "coverage_50": coverage(rows[:, 5:7], 0.5),
        "coverage_90": coverage(rows[:, 5:7], 0.9),
    }
    return {"n": len(set(index.tolist())), "systems": metrics, "mixture": calibration}


if __name__ == "__main__":
    main()
