"""Tables of docs/worlds.md from the results of benchmarks/world_bayes.py and world_geoclip.py.

Owns their rows; must not know where tables go.
"""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
THRESHOLDS_KM = (1, 25, 200, 750, 2500)
BASELINES = {
    "nearest_neighbor": "nearest neighbor",
    "gps_gallery": "retrieval of places (GeoCLIP)",
    "flat_cells": "flat cells (PlaNet)",
    "flat_cells_wide": "flat cells, wider",
    "hierarchical_cells": "hierarchical cells (ISN)",
    "regression": "regression of coordinates",
}
ANSWERS = {
    "greedy_log_prob": "greedy",
    "beam_log_prob": "beam 5, log_prob",
    "beam_medoid": "beam 5, medoid",
    "sample_log_prob": "sample 30, log_prob",
    "sample_medoid": "sample 30, medoid",
    "mbr": "posterior, mbr",
}


def result(name: str) -> Any:
    """Content of one result file."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _row(name: str, figures: dict[str, float], digits: int = 1) -> str:
    cells = [f"{figures[f'acc_at_{r}km']:.{digits}f}" for r in THRESHOLDS_KM]
    return f"| {name} | {' | '.join(cells)} |"


def world_bayes() -> str:
    """Geotoken beside the optimum."""
    found = result("world_bayes")
    bayes, ours, gap = found["bayes"], found["geotoken"], found["gap"]
    rows = [
        "| answer | 1 km | 25 km | 200 km | 750 km | 2500 km | NLL |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        _row("exact posterior, for each threshold", bayes["at_each"]) + f" {bayes['nll']:.3f} |",
        _row("geotoken, for each threshold", ours["at_each"]) + f" {ours['nll']:.3f} |",
        _row("difference", gap) + f" {gap['nll']:.3f} ± {gap['nll_standard_error']:.3f} |",
        _row("geotoken for each threshold, as the pipeline proposes answers", ours["at_each_as_proposed"])
        + " |",
        _row("exact posterior, one answer (mbr)", bayes["mbr"]) + " |",
        *(_row(f"geotoken, {name}", ours[key]) + " |" for key, name in ANSWERS.items()),
        _row("nearest neighbor", found["nearest_neighbor"]) + " |",
    ]
    return "\n".join(rows)


def world_bayes_conditions() -> str:
    """What was trained, and how long."""
    found = result("world_bayes")
    world, how = found["world"], found["training"]
    ours = found["geotoken"]
    return "\n".join(
        [
            f"{found['photos']:,} photos asked about. A photo has on average",
            f"{world['places_of_5_percent']:.1f} places of 5 % or more;",
            f"{world['photos_of_two_places']:.0f} % of photos have at least two;",
            f"the mean entropy is {world['entropy']:.2f} nats. Of the neighbors",
            f"{found['same_place_share']:.0%} are of the photo's own place.",
            f"{how['parameters']:,} parameters, {how['steps']:,} steps of 128 of {how['rows']:,} photos:",
            f"{how['seconds'] / 60:.0f} minutes of wall time on {how['threads']} thread of",
            f"a shared machine ({found['cpu']}, {found['cores']} cores). The regions of 50 % and 90 %",
            f"hold {ours['coverage_50']:.1f} % and {ours['coverage_90']:.1f} % of the truths.",
        ]
    )


def world_geoclip() -> str:
    """Geotoken beside the baselines, means over seeds."""
    found = result("world_geoclip")["mean"]
    rows = [
        "| method | 1 km | 25 km | 200 km | 750 km | 2500 km | median, km |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for key, name in {**BASELINES, "mbr": "geotoken (mbr)"}.items():
        figures = found[key]
        cells = [f"{figures[f'acc_at_{r}km']:.1f} ± {figures[f'acc_at_{r}km_sd']:.1f}" for r in THRESHOLDS_KM]
        rows.append(f"| {name} | {' | '.join(cells)} | {figures['median_error_km']:,.0f} |")
    return "\n".join(rows)


def world_geoclip_decoders() -> str:
    """Decoders and selections, means over seeds."""
    found = result("world_geoclip")["mean"]
    rows = [
        "| answer | 1 km | 25 km | 200 km | 750 km | 2500 km | median, km |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            _row(name, found[key]) + f" {found[key]['median_error_km']:,.0f} |"
            for key, name in ANSWERS.items()
        ),
    ]
    return "\n".join(rows)


def world_geoclip_conditions() -> str:
    """Sizes, times and calibration."""
    found = result("world_geoclip")
    first = found["seeds"][0]
    ours = [one["geotoken"] for one in found["seeds"]]
    minutes = sum(one["training"]["seconds"] for one in ours) / len(ours) / 60
    baseline = max(b["seconds"] for one in found["seeds"] for b in one["baselines"].values()) / 60
    nll = sum(one["nll"] for one in ours) / len(ours)
    held = [sum(one[f"coverage_{p}"] for one in ours) / len(ours) for p in (50, 90)]
    sizes, how = first["sizes"], ours[0]["training"]
    return "\n".join(
        [
            f"{len(ours)} seeds, all photos of the test asked about. Seed 0 has",
            f"{sizes['train']:,} photos to train on and {sizes['validation']:,} to validate,",
            f"and {sizes['test']:,} in the test. Geotoken:",
            f"{how['parameters']:,} parameters, {how['steps']:,} steps of 128 photos,",
            f"{minutes:.0f} minutes a seed on {how['threads']} thread; the slowest",
            f"baseline took {baseline:.1f}. NLL {nll:.2f}; the",
            f"regions of 50 % and 90 % hold {held[0]:.1f} % and {held[1]:.1f} % of the truths.",
        ]
    )
