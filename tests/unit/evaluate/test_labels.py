import pytest

from geotoken.evaluate.labels import LABELS, figure
from geotoken.evaluate.summary import summarise


def test_every_metric_has_a_label_and_every_label_a_metric(make_row):
    figures = summarise([make_row("a", 1.0)])
    assert set(figures["ci95"]) == set(LABELS)


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("acc_at_1km", 12.345, "12.3"),
        ("nll", 9.226, "9.23"),
        ("median_error_km", 1234.5, "1,234"),
        ("median_error_km", 12.34, "12.3"),
        ("median_region_50_km2", 0.01234, "0.0123"),
        ("geoscore", -3.21, "-3.21"),
    ],
)
def test_figures_have_few_digits(metric, value, text):
    assert figure(value, metric) == text
