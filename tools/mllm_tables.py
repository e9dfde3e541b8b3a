"""Tables of docs/mllm.md from the figures of benchmarks/mllm.py and mllm_load.py.

Owns these tables; must not know the pages.
"""

from world_tables import THRESHOLDS_KM, result

LABELS = {
    "recorded": "recorded answers alone",
    "geotoken": "geotoken alone",
    "fuse": "**fuse**",
    "free": "free (simulated)",
}


def mllm_replay() -> str:
    """Recorded answers, geotoken and both, cross-validated; then the differences with intervals."""
    found = result("mllm")
    rows = ["| | within 1 / 25 / 200 / 750 / 2500 km | median km |", "| --- | --- | --- |"]
    for name, label in LABELS.items():
        figures = found["systems"][name]
        within = " / ".join(f"{figures[f'acc_at_{r}km']:.1f}" for r in THRESHOLDS_KM)
        rows.append(f"| {label} | {within} | {figures['median_error_km']:.0f} |")
    rows += ["", "| points | 1 km | 25 km | 200 km | 750 km | 2500 km |"]
    rows.append("| --- | --- | --- | --- | --- | --- |")
    for name, difference in found["differences"].items():
        cells = []
        for radius_km in THRESHOLDS_KM:
            one = difference[f"acc_at_{radius_km}km"]
            low, high = one["ci95"]
            cells.append(f"{one['difference']:+.1f} ({low:+.1f} to {high:+.1f})")
        label = " minus ".join(f"{s} (simulated)" if s == "free" else s for s in name.split(" minus "))
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(rows)


def mllm_load() -> str:
    """A slow and faulty server: what was answered, repeated and paid twice, and the wall time."""
    rows = [
        "| run | photos answered | requests | faults | answers paid twice | wall time | wall time / bound |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for run in result("mllm_load")["runs"]:
        num_faults = sum(count for fault, count in run["faults"].items() if fault != "none")
        name = "undisturbed" if run["ended_by"] is None else f"ended by {run['ended_by']}, resumed"
        time = (
            f"{run['wall_s']:.0f} s | {run['wall_over_bound']:.2f}"
            if run["ended_by"] is None
            else "not measured | "
        )
        rows.append(
            f"| {name} | {run['num_by_mllm']} of {run['num_photos']} | {run['num_requests']} "
            f"| {num_faults} | {run['num_paid_twice']} | {time} |"
        )
    return "\n".join(rows)
