"""Does choosing by a trained reward beat choosing by log-probability, where it should?

Owns a synthetic world of evidence, the training and the comparison; must not know photos.

A photo is taken near one of three towns that look alike. Its neighbors lie in these towns, a third in each,
or anywhere; their ranks say nothing, but those of the true town are more similar by two standard deviations,
which the bundled mixture was not fitted to read. The reward model learns on some photos; others are then
answered by beam search and each selection method, as `geotoken locate` does.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import provenance, write_json
from geotoken.artifact import load_artifact, load_head
from geotoken.decoding import DecodingOptions, decode, posterior
from geotoken.evidence import Evidence
from geotoken.geo import haversine_km
from geotoken.metrics import accuracy
from geotoken.places import settlements
from geotoken.protocol import TokenModel
from geotoken.reward import RewardModel, evidence_places, widen
from geotoken.reward.network import export_reward
from geotoken.selection import select
from geotoken.train.reward_cases import RewardCases, make_cases
from geotoken.train.reward_recipe import fit_reward
from geotoken.train.reward_settings import RewardSettings

KM_PER_DEG = 111.2
NUM_NEIGHBORS = 12
EPSILON = 3e-4  # as the pipeline's

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "reward": {},
    "reward_ranking": {"training": {"ranking_weight": 1.0}},
    "reward_places": {"network": {"places": True}},
}
"""Settings that are compared, where they differ from the recipe."""

World = tuple[list[Evidence], np.ndarray, np.ndarray, np.ndarray]


def make_world(num_photos: int, seed: int) -> World:
    """Draw photos: their evidence, latitudes, longitudes and owners."""
    rng = np.random.default_rng(seed)
    lat, lng = settlements()
    evidence, truth = [], []
    for _ in range(num_photos):
        towns = rng.choice(len(lat), 3, replace=False)
        town = towns[rng.choice(3, NUM_NEIGHBORS)]
        anywhere = rng.random(NUM_NEIGHBORS) < 0.25
        right = (town == towns[0]) & ~anywhere
        town = np.where(anywhere, rng.choice(len(lat), NUM_NEIGHBORS), town)
        near_lat, near_lng = scatter(rng, lat[town], lng[town])
        evidence.append(
            Evidence(
                neighbor_lat=near_lat,
                neighbor_lng=near_lng,
                neighbor_rank=np.arange(1.0, NUM_NEIGHBORS + 1),
                neighbor_similarity=np.clip(rng.normal(np.where(right, 0.75, 0.62), 0.065), -1, 1),
            )
        )
        truth.append(scatter(rng, lat[towns[0]], lng[towns[0]]))
    true_lat, true_lng = np.array(truth).T
    return evidence, true_lat, true_lng, np.arange(num_photos) // 2


def scatter(rng: np.random.Generator, lat: np.ndarray, lng: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places about 2 km around others."""
    north, east = 2.0 / KM_PER_DEG * rng.normal(size=(2, *np.shape(lat)))
    return np.clip(lat + north, -89, 89), (lng + east / np.cos(np.radians(lat)) + 180) % 360 - 180


def train(cases: RewardCases, settings: RewardSettings, folder: Path) -> tuple[RewardModel, dict[str, Any]]:
    """Train one reward model and open its graph."""
    start = time.perf_counter()
    outcome, stage = fit_reward(cases, settings, folder)
    seconds = time.perf_counter() - start
    difference = export_reward(stage.module, folder)
    facts = {"steps": outcome.step, "best_step": outcome.best_step, "seconds": round(seconds, 1)}
    return RewardModel.load(folder), facts | {"validation": outcome.best, "graph_difference": difference}


def answer(model: TokenModel, rewards: dict[str, RewardModel], world: World) -> dict[str, np.ndarray]:
    """Distances to the truth in km of every method, photo by photo."""
    distances: dict[str, list[float]] = {}
    for one, lat, lng in zip(*world[:3], strict=True):
        memory = model.encode([one])
        whole = posterior(model, memory, EPSILON)[0]
        candidates = decode(model, memory, DecodingOptions())[0]
        points = evidence_places(one)
        chosen = {
            name: select(name, candidates, whole, extra=points) for name in ("log_prob", "medoid", "mbr")
        }
        judged, proposals = widen(model, memory, whole, candidates, points)
        chosen["mbr_same_places"] = select("reward", judged, scores=proposals.within.mean(axis=1))
        for name, reward in rewards.items():
            chosen[name] = select("reward", judged, scores=reward.score(one, proposals))
        for name, place in chosen.items():
            distances.setdefault(name, []).append(float(haversine_km(place.lat, place.lng, lat, lng)))
        nearest = float(haversine_km(proposals.lat, proposals.lng, lat, lng).min())
        distances.setdefault("best_of_the_places", []).append(nearest)
    return {name: np.array(values) for name, values in distances.items()}


def summary(distance_km: np.ndarray, reference_km: np.ndarray) -> dict[str, Any]:
    """Accuracies, their mean, and the mean's lead over a reference with its 95 % bootstrap interval."""

    def met(values: np.ndarray) -> np.ndarray:
        return 100 * (values[:, None] <= np.array([1, 25, 200, 750, 2500])).mean(axis=1)

    lead = met(distance_km) - met(reference_km)
    rng = np.random.default_rng(0)
    means = lead[rng.integers(0, len(lead), (2000, len(lead)))].mean(axis=1)
    return {
        **accuracy(distance_km),
        "mean_accuracy": float(met(distance_km).mean()),
        "lead_over_log_prob": [float(lead.mean()), *np.percentile(means, [2.5, 97.5]).tolist()],
    }


def main() -> None:
    """Train, compare, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=400, help="photos that give candidates")
    parser.add_argument("--test", type=int, default=200, help="photos to answer")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = load_head(load_artifact("mini"))
    loop = {"steps": options.steps, "validate_every": 50, "accelerator": "cpu"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        evidence, lat, lng, owner = make_world(options.train, 1)
        start = time.perf_counter()
        cases = make_cases(model, evidence, (lat, lng, owner), folder / "candidates")
        seconds = time.perf_counter() - start
        rewards, training = {}, {}
        for variant in options.variants:
            settings = RewardSettings.resolve(None, {**VARIANTS[variant], "loop": loop})
            rewards[variant], training[variant] = train(cases, settings, folder / variant)
            print(variant, training[variant], file=sys.stderr)
        distances = answer(model, rewards, make_world(options.test, 2))
    figures = {
        "about": provenance(),
        "num_train": options.train,
        "num_test": options.test,
        "candidates": {
            "seconds": round(seconds, 1),
            "mean_of_a_photo": float(cases.batch.mask.sum(axis=1).mean()),
        },
        "training": training,
        "test": {name: summary(values, distances["log_prob"]) for name, values in distances.items()},
    }
    print(write_json(figures, options.json), end="")


if __name__ == "__main__":
    main()
