"""What metrics are called, and how many digits they get.

Owns wording for people; must not know how metrics are found.
"""

from typing import Final

from geotoken.metrics import THRESHOLDS_KM

LABELS: Final = {
    **{f"acc_at_{r}km": f"within {r:,} km, %" for r in THRESHOLDS_KM},
    "median_error_km": "median error, km",
    "mean_error_km": "mean error, km",
    "geoscore": "GeoScore, of 5000",
    "country_accuracy": "right country, %",
    "region_accuracy": "right division, %",
    "nll": "NLL, nats per km²",
    "coverage_50": "in the 50 % region, %",
    "coverage_90": "in the 90 % region, %",
    "within_radius_50": "in the 50 % radius, %",
    "within_radius_90": "in the 90 % radius, %",
    "median_region_50_km2": "median 50 % region, km²",
    "median_region_90_km2": "median 90 % region, km²",
    "median_radius_50_km": "median 50 % radius, km",
    "median_radius_90_km": "median 90 % radius, km",
}
"""Label of each metric, in the order of tables."""


def figure(value: float, metric: str) -> str:
    """A value for people.

    Args:
        value: Of a metric, or a difference of two.
        metric: Its name.

    Returns:
        Two decimals for nats; one for a percentage; else none, or three digits where it is small.
    """
    if metric == "nll":
        return f"{value:.2f}"
    if metric.startswith(("acc_", "country_", "region_", "coverage_", "within_")):
        return f"{value:.1f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
