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
from mllm_tables import mllm_load, mllm_replay
from world_tables import (
    THRESHOLDS_KM,
    result,
    world_bayes,
    world_bayes_conditions,
    world_geoclip,
    world_geoclip_conditions,
    world_geoclip_decoders,
)

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "src" / "geotoken" / "data" / "models" / "mini"
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "experiments.md",
    ROOT / "docs" / "galleries.md",
    ROOT / "docs" / "batches.md",
    ROOT / "docs" / "mllm.md",
    ROOT / "docs" / "deploy.md",
    ROOT / "docs" / "performance.md",
    ROOT / "docs" / "quickstart.md",
    ROOT / "docs" / "worlds.md",
    MODEL / "MODEL_CARD.md",
)
HALVES = ("look", "report")
GROUPS = ("all", "seen", "unseen")
"""Groups of queries."""


def within(metrics: dict[str, float], thresholds_km: tuple[int, ...] = THRESHOLDS_KM) -> str:
    """Accuracies in a row."""
    return " / ".join(f"{metrics[f'acc_at_{r}km']:.1f}" for r in thresholds_km)


def query_groups() -> list[tuple[str, dict[str, Any]]]:
    """Figures of the groups of queries: each half, and both together as the means over their photos."""
    look, report = (result(f"queries_{half}") for half in HALVES)
    groups = [(f"{half}, {name}", result(f"queries_{half}")[name]) for half in HALVES for name in GROUPS]
    return groups + [(f"both, {name}", pooled(look[name], report[name])) for name in GROUPS]


def pooled(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Counts added, all other numbers averaged with the counts as weights."""
    share = one["n"] / (one["n"] + other["n"])
    return {
        name: pooled(value | {"n": one["n"]}, other[name] | {"n": other["n"]})
        if isinstance(value, dict)
        else (value + other[name] if name in ("n", "failed") else share * value + (1 - share) * other[name])
        for name, value in one.items()
    }


def queries() -> str:
    """Accuracy on places seen and unseen, both halves."""
    rows = [
        "| half, places | photos | nearest neighbor: 1 / 25 / 200 / 750 / 2500 km | geotoken (MBR) | NLL |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, g in query_groups():
        nearest, answer = within(g["nearest_neighbor"]), within(g["mixture_mbr"])
        rows.append(f"| {name} | {g['n']} | {nearest} | {answer} | {g['nll']:.2f} |")
    return "\n".join(rows)


def reference() -> str:
    """The plainest encoder on the same queries."""
    rows = [
        "| half, places | photos | nearest neighbor: 1 / 25 / 200 / 750 / 2500 km |",
        "| --- | --- | --- |",
    ]
    found = result("queries_reference")
    for name in ("look_seen", "report_seen", "look_unseen", "report_unseen"):
        rows.append(f"| {name.replace('_', ', ')} | {found[name]['n']} | {within(found[name])} |")
    return "\n".join(rows)


def calibration() -> str:
    """Coverage on both halves."""
    rows = [
        "| half, places | 50 % region holds the truth | 90 % region | within radius 50 | within radius 90 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, g in query_groups():
        rows.append(
            f"| {name} | {g['coverage_50']:.1f} % | {g['coverage_90']:.1f} % "
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
    """Im2GPS3k from recorded neighbors, cross-validated: rules, the forms of the mixture, the transformer."""
    found = result("evidence")["systems"]
    rows = [
        "| | within 1 / 25 / 200 / 750 / 2500 km | median km | NLL | coverage 50 / 90 |",
        "| --- | --- | --- | --- | --- |",
    ]
    chosen = ",".join(f"{weight:g}" for weight in load_artifact("mini").ranked_threshold_weights)
    for label, metrics in (
        ("nearest neighbor", found["nearest_neighbor"]),
        ("kernel vote, five scales", found["five_scale_vote"]),
        ("linear weights", found["linear"]["1,1,1,1,1"]),
        ("**network**", found["network"][chosen]),
        ("transformer", found["transformer"][chosen]),
        ("network and transformer, half each", found["both"][chosen]),
        ("recorded guess alone", found["guess"]),
        ("kernel vote with the guess", found["five_scale_vote_with_guess"]),
        ("linear weights with the guess", found["linear_guess"]["1,1,1,1,1"]),
        ("**network with the guess**", found["network_guess"][chosen]),
        ("transformer with the guess", found["transformer_guess"][chosen]),
        ("network and transformer with the guess", found["both_guess"][chosen]),
    ):
        calibration = "| |"
        if "nll" in metrics:
            calibration = (
                f"{metrics['nll']:.2f} | {metrics['coverage_50']:.1f} / {metrics['coverage_90']:.1f} |"
            )
        rows.append(f"| {label} | {within(metrics)} | {metrics['median_error_km']:.0f} | {calibration}")
    return "\n".join(rows)


def evidence_vote() -> str:
    """Trained models minus the vote on the same photos, with intervals, for every weighting of thresholds."""
    found = result("evidence")["systems"]
    rows = ["| weights | 1 km | 25 km | 200 km | 750 km | 2500 km |", "| --- | --- | --- | --- | --- | --- |"]
    forms = ("network", "transformer", "both")
    systems = [(form, form) for form in forms]
    systems += [(f"{form} with the guess", f"{form}_guess") for form in forms]
    for label, system in systems:
        for weights, metrics in found[system].items():
            cells = []
            for one in metrics["minus_vote"].values():
                low, high = one["ci95"]
                cells.append(f"{one['difference']:+.1f} ({low:+.1f} to {high:+.1f})")
            rows.append(f"| {label}, {weights} | {' | '.join(cells)} |")
    return "\n".join(rows)


def speed() -> str:
    """Speed and size."""
    cells = {row["stage"]: row["points_per_s"] / 1e6 for row in result("cells")}
    posterior, ranked = result("posterior")
    locate = {row["stage"]: row for row in result("locate")}
    rows = [
        "| what | measured | goal |",
        "| --- | --- | --- |",
        f"| points to tokens, M a second, one core | {cells['encode']:.1f} | 3 |",
        f"| tokens to points, M a second, one core | {cells['decode']:.1f} | 3 |",
        f"| points to cells and back, M a second, one core | {cells['from_lat_lng']:.1f} and "
        f"{cells['to_lat_lng']:.1f} | 3 |",
        f"| posterior of 20 neighbors, epsilon 1e-4, ms of CPU time a photo "
        f"| {1e3 * posterior['cpu_seconds']:.0f} | 40 |",
        f"| the same without similarities | {1e3 * ranked['cpu_seconds']:.0f} | 40 |",
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


def prefix_sharing() -> str:
    """Distinct prefixes a step with trained and with random weights."""
    found = result("prefix_sharing")
    rows = [
        "| weights, temperature | hypotheses scored at steps 1, 2, ... (mean) | of all without sharing |",
        "| --- | --- | --- |",
    ]
    for one in found["sampling"]:
        scored = one["rows_per_step"]
        share = sum(scored) / (len(scored) * one["samples_together"])
        steps = ", ".join(f"{rows_of_step:.0f}" for rows_of_step in scored)
        rows.append(f"| {one['weights']}, {one['temperature']:g} | {steps} | {100 * share:.0f} % |")
    training = found["training"]
    rows += ["", f"Trained for {training['steps']:,} steps, to {training['loss_nats']:.1f} nats a photo."]
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
    look, report = (result(f"queries_{half}") for half in HALVES)
    found = {name: pooled(look[name], report[name]) for name in GROUPS}
    seen = found["seen"]["mixture_mbr"]["acc_at_25km"]
    unseen = found["unseen"]["mixture_mbr"]["acc_at_750km"]
    covered = {p: found["all"][f"coverage_{p}"] for p in (50, 90)}
    return (
        f"  Of {found['all']['n']:,} web photos that it was not made of, those of places in the gallery\n"
        f"  were put within 25 km in {seen:.0f} % of cases, those of unknown places within 750 km in\n"
        f"  {unseen:.0f} %. The region said to hold the place with 50 % held it for {covered[50]:.0f} % of\n"
        f"  the photos, the one said to hold it with 90 % for {covered[90]:.0f} %."
    )


def known_country() -> str:
    """What it is worth to know the country."""
    rows = [
        "| searched | 1 / 25 / 200 / 750 / 2500 km | median km | median probability of the country before |",
        "| --- | --- | --- | --- |",
    ]
    found = result("within")
    for name in ("anywhere", "true_country", "wrong_country"):
        g = found[name]
        share = "" if name == "anywhere" else f"{100 * g['median_region_probability']:.1f} %"
        title = name.replace("_", " ")
        rows.append(f"| {title} | {within(g)} | {g['median_error_km']:,.0f} | {share} |")
    return "\n".join(rows)


PARTS = {
    "embed": "encoder, two views; a square photo needs one",
    "posterior": "posterior",
    "select": "selection",
    "weigh": "weights of the neighbors and the prior",
    "decode": "decoding",
    "score": "probabilities of the answer's cells",
    "read": "reading",
    "radii": "radii",
    "name": "place name",
    "search": "search",
}
"""Parts of locating a photo, as `benchmarks/batch.py` times them."""


def batch() -> str:
    """Speed, memory and profile of a long batch."""
    found = result("batch")
    parts = found["cpu_ms_per_photo_of_parts"]
    lines = [
        f"| {found['num_photos']:,} photos, {found['workers']} processes | |",
        "| --- | --- |",
        f"| photos a second, with {found['cpus_used']:.1f} of the 2 cores to be had "
        f"| {found['photos_per_s']:.0f} |",
        f"| CPU time a photo, all processes, with their start | {found['cpu_ms_per_photo']:.0f} ms |",
        "| memory of all processes after a tenth of the photos, and at the end "
        f"| {found['mb_after_a_tenth']:.0f} MB, {found['mb_at_the_end']:.0f} MB |",
        "",
        f"| where it goes, one thread: {sum(parts.values()):.0f} ms | ms a photo |",
        "| --- | --- |",
        *(f"| {title} | {parts[name]:.1f} |" for name, title in PARTS.items()),
    ]
    return "\n".join(lines)


def serve() -> str:
    """Latency, throughput, memory and end of a server under load."""
    found = result("serve")
    alone, loaded, memory, drain = (found[name] for name in ("unloaded", "loaded", "memory", "drain"))
    answers = {"429": 0, **loaded["statuses"]}
    failed = sum(number for status, number in answers.items() if status not in ("200", "429"))
    num_errors = failed + sum(loaded["errors"].values())
    before, after = memory["num_requests"][0], memory["num_requests"][-1]
    others = found["unloaded"]["cpus_used_by_others"], loaded["cpus_used"]["others"]
    lines = [
        f"| {loaded['clients']} clients for {loaded['seconds']:.0f} s, {found['cores']} cores | | aim |",
        "| --- | --- | --- |",
        f"| from the command to a page that answers, and to the model "
        f"| {found['seconds_to_page']:.1f} s, {found['seconds_to_ready']:.1f} s | 3 s |",
        f"| a photo alone: half of them within, 95 % within "
        f"| {1000 * alone['p50_s']:.0f} ms, {1000 * alone['p95_s']:.0f} ms | |",
        f"| under load: half within, 95 % within, and that over the half alone "
        f"| {1000 * loaded['p50_s']:.0f} ms, {1000 * loaded['p95_s']:.0f} ms, "
        f"{found['p95_of_unloaded_p50']:.1f} | 4 |",
        f"| answers a second, of the photos a second of `geotoken locate` in a batch "
        f"| {loaded['answers_per_s']:.1f}, {100 * found['throughput_of_batch']:.0f} % | 80 % |",
        f"| answered, turned away with 429, other errors | {answers['200']:,}, {answers['429']:,}, "
        f"{num_errors} | 0 errors |",
        f"| CPU time an answer | {loaded['cpu_ms_per_answer']:.0f} ms | |",
        f"| memory of server and workers after {before:,} and after {after:,} answers "
        f"| {memory['mb'][0]:.0f} MB, {memory['mb'][-1]:.0f} MB | 10 % more |",
        f"| told to stop with {drain['in_flight']} requests under way: answered, seconds to the end "
        f"| {drain['statuses'].get('200', 0)}, {drain['seconds']:.1f} | all |",
        f"| CPUs that other programs used meanwhile, alone and under load "
        f"| {others[0]:.1f}, {others[1]:.1f} | 0 |",
    ]
    return "\n".join(lines)


def galleries() -> str:
    """Every kind of index at one size, and a big gallery."""
    found = result("gallery")
    columns = [*found["kinds"].items(), (found["big"]["index"]["kind"], found["big"])]
    single = found["search_ms_per_query"]["single"]
    rows = {
        "photos": [f"{column['num_photos']:,}" for _, column in columns],
        f"recall@15 of exact, {found['big']['num_queries']} new queries": [
            f"{column['recall_at_15']:.3f}" for _, column in columns
        ],
        "CPU time of a query, ms": [f"{column['search_ms_per_query']['cpu']:.1f}" for _, column in columns],
        "memory that loading and searching take, MB": [
            f"{column['memory_mb']['growth']:.0f}" for _, column in columns
        ],
        "of which index, MB": [f"{column['index_mb']:.0f}" for _, column in columns],
        "loading, with all checksums, s": [f"{column['load_s']:.1f}" for _, column in columns],
        "making the folder from vectors, s": [f"{column['build_s']:.0f}" for _, column in columns],
    }
    lines = [
        f"| {columns[0][1]['dim']} numbers a vector | {' | '.join(kind for kind, _ in columns)} |",
        "| --- |" + " --- |" * len(columns),
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
        "",
        f"Exact search of {found['num_photos']:,} vectors of {found['dim']} numbers: {single['cpu']:.1f} ms "
        f"of CPU time a query, {single['median']:.1f} ms in all.",
    ]
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table
    for table in (
        queries,
        reference,
        calibration,
        reliability,
        evidence,
        evidence_vote,
        speed,
        encoder,
        storage,
        limits,
        known_country,
        batch,
        serve,
        galleries,
        *(decode, decode_conditions, decode_prefixes, prefix_sharing, decode_memory, decode_growth),
        *(mllm_replay, mllm_load),
        *(world_bayes, world_bayes_conditions),
        *(world_geoclip, world_geoclip_decoders, world_geoclip_conditions),
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
        ranked_threshold_weights=tuple(config["ranked_threshold_weights"]),
    )
    load_artifact(MODEL)


if __name__ == "__main__":
    sys.exit(main())
