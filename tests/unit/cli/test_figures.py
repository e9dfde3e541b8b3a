import pytest

from geotoken.cli.figures import print_comparison, print_summaries
from geotoken.evaluate.summary import Measure, compare, summarise


@pytest.fixture
def rows():
    """Three photos, of which one has no answer; the others are 111 and 222 km off."""
    known = [{"image": f"p{i}", "owner": f"o{i}", "true_lat": 0.0, "true_lng": 0.0} for i in range(3)]
    for i in (0, 1):
        known[i] |= {"status": "ok", "lat": i + 1.0, "lng": 0.0}
    known[2] |= {"status": "error", "error": "gone"}
    return known


def test_figures_have_intervals_and_failures_are_said(rows, capsys):
    summary = summarise(rows, Measure(num_resamples=20))
    print_summaries({"mine\x1b[31m": summary, "five_scale_vote": summary}, ["a remark"])
    printed = capsys.readouterr()
    assert "3 photos, 95 % by bootstrap over 3 owners; haversine, R = 6371.0088 km, <=" in printed.out
    assert "five scale vote" in printed.out
    assert "\x1b" not in printed.out + printed.err
    lines = printed.out.splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("within 200 km"))
    assert lines[row].split()[-2:] == ["33.3", "33.3"]
    low, high = summary["ci95"]["acc_at_200km"]
    assert f"{low:.1f}–{high:.1f}" in lines[row + 1]
    assert "NLL" not in printed.out, "nothing is known of it"
    assert printed.err.count("1 photo without an answer, counted as wrong") == 2
    assert "note: a remark" in printed.err


def test_differences_have_signs(rows, capsys):
    better = [dict(row) for row in rows]
    better[1]["lat"] = 0.0
    found = compare(rows, better[:2], Measure(num_resamples=20))
    print_comparison({"names": ["old", "new"], **found})
    printed = capsys.readouterr()
    line = next(line for line in printed.out.splitlines() if line.startswith("within 200 km"))
    assert line.split()[-6:-3] == ["33.3", "66.7", "+33.3"]
    line = next(line for line in printed.out.splitlines() if line.startswith("median error"))
    assert " -111 " in line
    assert "1 photo without a row in new count as wrong there" in printed.err
