"""Put measured figures where people read them: tables in docs/experiments.md, README and the model card.

Owns the tables between `<!-- name -->` and `<!-- end -->`; every figure comes from benchmarks/results/*.json.

    python tools/make_results.py [--check]

With `--check` nothing is written, and the exit code is 1 if a page is stale. The model folder is sealed again
after its card changed.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geotoken.artifact import load_artifact, save_artifact
from geotoken.tokens import TokenScheme

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MODEL = ROOT / "src" / "geotoken" / "data" / "models" / "mini"
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "experiments.md",
    ROOT / "docs" / "performance.md",
    ROOT / "docs" / "quickstart.md",
    MODEL / "MODEL_CARD.md",
)
THRESHOLDS_KM = (1, 25, 200, 750, 2500)
GROUPS = ("all", "seen", "unseen")
"""Groups of queries."""


def result(name: str) -> Any:
    """Content of one result file."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def within(metrics: dict[str, float], thresholds_km: tuple[int, ...] = THRESHOLDS_KM) -> str:
    """Accuracies in a row."""
    return " / ".join(f"{metrics[f'acc_at_{r}km']:.1f}" for r in thresholds_km)


def queries() -> str:
    """Accuracy on places seen and unseen, both halves."""
    rows = [
        "| half, places | photos | nearest neighbor: 1 / 25 / 200 / 750 / 2500 km | geotoken (MBR) | NLL |",
        "| --- | --- | --- | --- | --- |",
    ]
    for half in ("look", "report"):
        found = result(f"queries_{half}")
        for group in GROUPS:
            g = found[group]
            rows.append(
                f"| {half}, {group} | {g['n']} | {within(g['nearest_neighbor'])} "
                f"| {within(g['mixture_mbr'])} "
                f"| {g['nll']:.2f} |"
            )
    return "\n".join(rows)


def calibration() -> str:
    """Coverage on both halves."""
    rows = [
        "| half, places | 50 % region holds the truth | 90 % region | within radius 50 | within radius 90 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for half in ("look", "report"):
        found = result(f"queries_{half}")
        for group in GROUPS:
            g = found[group]
            rows.append(
                f"| {half}, {group} | {g['coverage_50']:.1f} % | {g['coverage_90']:.1f} % "
                f"| {g['within_radius_50']:.1f} % | {g['within_radius_90']:.1f} % |"
            )
    return "\n".join(rows)


def reliability() -> str:
    """Truths within the stated radii, by the size of the 50 % radius; the half reported once."""
    rows = [
        "| 50 % radius, km | photos | truth within it | within the 90 % radius | median error, km |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result("queries_report")["reliability"]:
        low, high = row["radius_50_km"]
        rows.append(
            f"| {low:,} to {high:,} | {row['n']} | {row['within_radius_50']:.1f} % "
            f"| {row['within_radius_90']:.1f} % | {row['median_error_km']:,.0f} |"
        )
    return "\n".join(rows)


def evidence() -> str:
    """Im2GPS3k from recorded neighbors, cross-validated."""
    plain, guess = result("evidence"), result("evidence_guess")
    rows = [
        "| | within 1 / 25 / 200 / 750 / 2500 km | median km | NLL | coverage 50 / 90 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for label, system in (
        ("nearest neighbor", "nearest_neighbor"),
        ("kernel vote, five scales", "five_scale_vote"),
    ):
        metrics = plain["systems"][system]
        rows.append(f"| {label} | {within(metrics)} | {metrics['median_error_km']:.0f} | | |")
    for label, found in (("closed-form model, MBR", plain), ("the same with the recorded guess", guess)):
        metrics, model = found["systems"]["mixture_mbr"], found["mixture"]
        rows.append(
            f"| {label} | {within(metrics)} | {metrics['median_error_km']:.0f} | {model['nll']:.2f} "
            f"| {model['coverage_50']:.1f} / {model['coverage_90']:.1f} |"
        )
    return "\n".join(rows)


def speed() -> str:
    """Speed and size."""
    cells = {row["stage"]: row["points_per_s"] / 1e6 for row in result("cells")}
    posterior, locate = result("posterior")[0], {row["stage"]: row for row in result("locate")}
    rows = [
        "| what | measured | goal |",
        "| --- | --- | --- |",
        f"| points to tokens, M a second, one core | {cells['encode']:.1f} | 3 |",
        f"| tokens to points, M a second, one core | {cells['decode']:.1f} | 3 |",
        f"| points to cells and back, M a second, one core | {cells['from_lat_lng']:.1f} and "
        f"{cells['to_lat_lng']:.1f} | 3 |",
        f"| posterior of 20 neighbors, epsilon 1e-4, ms a photo | {1e3 * posterior['seconds']:.0f} | 40 |",
        f"| `locate`, warm, one photo, ms | {1e3 * locate['warm']['seconds']:.0f} | 100 |",
        f"| `locate`, batch, photos a second | {locate['batch']['photos_per_s']:.0f} | 40 |",
        f"| command line from a cold start to an answer, s | {locate['cold_cli']['seconds']:.1f} | 3 |",
        f"| `--version`, s | {locate['version']['seconds']:.2f} | |",
        f"| `--help`, s | {locate['help']['seconds']:.2f} | |",
        f"| packages of the base install, MB | {locate['base_packages']['megabytes']:.0f} | |",
    ]
    return "\n".join(rows)


def encoder() -> str:
    """Variants of the encoder."""
    rows = [
        "| encoder | other authors: 1 / 5 / 10 nearest | other sources: 1 / 5 / 10 nearest |",
        "| --- | --- | --- |",
    ]
    for row in result("encoder")["retrieval"]:
        found = [
            " / ".join(f"{row[name][f'recall_at_{k}']:.1f}" for k in (1, 5, 10))
            for name in ("author", "source")
        ]
        rows.append(f"| {row['label']} | {found[0]} | {found[1]} |")
    return "\n".join(rows)


def storage() -> str:
    """Ways to store the weights."""
    rows = [
        "| weights stored as | file, MB | loading, s | smallest cosine to float32 | same nearest photo |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in result("encoder")["storage"]:
        rows.append(
            f"| {row['label']} | {row['file_mb']:.1f} | {row['load_s']:.2f} | {row['min_cosine']:.5f} "
            f"| {row['same_nearest_percent']:.1f} % |"
        )
    return "\n".join(rows)


BACKENDS = (("onnx", "float32"), ("torch", "float32"), ("torch", "bfloat16"))
GOALS = {"greedy": 3, "sample": 30, "beam": 12}


def decode() -> str:
    """Seconds of each stage of decoding, against the naive loop and the roofline.

    Of one thread, processor seconds are told, which other processes hardly change; of several, wall time.
    """
    seconds = "cpu_seconds" if result("decode")[0]["threads"] == 1 else "seconds"
    rows = [
        "| stage | backend | seconds | naive loop, s | times faster | goal | times the roofline |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    found = {(row["stage"], row["backend"], row["dtype"]): row for row in result("decode")}
    for stage in ("encode", "greedy", "beam", "sample"):
        slow = found[stage, "naive", "float32"][seconds]
        for backend, dtype in BACKENDS:
            row = found[stage, backend, dtype]
            rows.append(
                f"| {stage} | {backend} {dtype} | {row[seconds]:.2f} | {slow:.2f} "
                f"| {slow / row[seconds]:.1f} | {GOALS.get(stage, '')} "
                f"| {row[seconds] / row['roofline_seconds']:.1f} |"
            )
    return "\n".join(rows)


def decode_conditions() -> str:
    """What the decoding figures were measured on."""
    row = result("decode")[0]
    rates = {
        one["dtype"]: f"{one['flops_per_s'] / 1e9:.0f} GFLOP/s in {one['dtype']}" for one in result("decode")
    }
    loads = [one["load"] for one in result("decode")]
    unit = (
        "processor seconds of one thread" if row["threads"] == 1 else f"seconds of {row['threads']} threads"
    )
    return (
        f"{row['batch']} photos, {row['neighbors']} neighbors each, {row['samples']} samples, beam width "
        f"{row['beam']}.\n{unit[0].upper()}{unit[1:]}: {row['cpu']}, torch {row['torch']}, commit "
        f"{row['commit']}.\nMatrix product {', '.join(rates.values())}; copy "
        f"{row['bytes_per_s'] / 1e9:.0f} GB/s.\nLoad average of the machine while measuring: "
        f"{min(loads):.1f} to {max(loads):.1f}."
    )


def decode_prefixes() -> str:
    """Distinct prefixes a step."""
    found = {row["stage"]: row for row in result("decode") if row["backend"] == "onnx"}
    rows = ["| stage | hypotheses scored at steps 1, 2, ... | without sharing |", "| --- | --- | --- |"]
    for stage in ("greedy", "beam", "sample"):
        row = found[stage]
        many = {"greedy": 1, "beam": row["beam"], "sample": row["samples"]}[stage]
        scored = ", ".join(map(str, row["rows_per_step"]))
        rows.append(f"| {stage} | {scored} | {row['batch'] * many} at each |")
    return "\n".join(rows)


def decode_memory() -> str:
    """Memory of sampling over that of the model."""
    row = result("decode_memory")[0]
    return (
        f"{row['samples']} samples for each of {row['batch']} photos took "
        f"{row['peak_bytes_over_model'] / 1e9:.2f} GB at most over the loaded model ({row['backend']}, "
        f"{row['config']}; goal: 2 GB)."
    )


def decode_growth() -> str:
    """Processor seconds of one thread as one thing varies."""
    rows = [
        "| varies | value | encode, s | decode, s | prefixes scored | decode, ms a prefix |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result("decode_growth"):
        name = row["varies"].replace("_", " ") + (" of the model" if row["varies"] == "width" else "")
        rows.append(
            f"| {name} | {row['value']} | {row['encode_cpu_seconds']:.2f} | {row['decode_cpu_seconds']:.2f} "
            f"| {row['prefixes']:,} | {1e3 * row['decode_cpu_seconds'] / row['prefixes']:.2f} |"
        )
    return "\n".join(rows)


def limits() -> str:
    """The limits in three figures, for the README."""
    found = result("queries_report")
    seen = found["seen"]["mixture_mbr"]["acc_at_25km"]
    unseen = found["unseen"]["mixture_mbr"]["acc_at_750km"]
    return (
        f"  Of {found['all']['n']:,} web photos measured once, those whose place is in the gallery were put\n"
        f"  within 25 km in {seen:.0f} % of cases, those of unknown places within 750 km in {unseen:.0f} %.\n"
        f"  The region said to hold the place with 50 % held it for {found['all']['coverage_50']:.0f} % of "
        f"the photos,\n  the one said to hold it with 90 % for {found['all']['coverage_90']:.0f} %."
    )


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table
    for table in (
        *(queries, calibration, reliability, evidence, speed, encoder, storage, limits),
        *(decode, decode_conditions, decode_prefixes, decode_memory, decode_growth),
    )
}


def fill(text: str) -> str:
    """A page with its tables renewed."""

    def replace(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{TABLES[match[1]]()}\n{match[2]}<!-- end -->"

    names = "|".join(TABLES)
    return re.sub(rf"<!-- ({names}) -->\n.*?^( *)<!-- end -->", replace, text, flags=re.DOTALL | re.MULTILINE)


def main() -> int:
    """Renew or check all pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say which pages are stale")
    args = parser.parse_args()
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        renewed = fill(text)
        if renewed != text:
            stale.append(page)
            if not args.check:
                page.write_text(renewed, encoding="utf-8")
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'stale; run tools/make_results.py' if args.check else 'renewed'}")
    if MODEL / "MODEL_CARD.md" in stale and not args.check:
        seal()
    return 1 if stale and args.check else 0


def seal() -> None:
    """Write the manifest of the model again, over the new card."""
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    save_artifact(
        MODEL,
        name=config["name"],
        scheme=TokenScheme(**config["scheme"]),
        head=config["head"],
        threshold_weights=tuple(config["threshold_weights"]),
    )
    load_artifact(MODEL)


if __name__ == "__main__":
    sys.exit(main())
