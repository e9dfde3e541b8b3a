import json
import re
from html.parser import HTMLParser

import pytest

from geotoken.errors import InputError
from geotoken.evaluate.report import MAX_ROWS, write_report
from geotoken.evaluate.summary import Measure, summarise

HOSTILE = "<img src=x onerror=alert(1)>'&.jpg"
FEW = Measure(num_resamples=5)


@pytest.fixture
def write(tmp_path):
    """Write a report about rows and return its page."""

    def make(rows, paths=None, others=None, **about):
        summary = summarise(rows, FEW)
        about = {
            "command": "geotoken eval",
            "geotoken": "1",
            "data": ["a.csv"],
            "data_sha256": ["ab"],
        } | about
        result = {**summary, "notes": ["one < two"], "about": about}
        write_report(tmp_path / "r", result, {"mine": summary, **(others or {})}, rows, paths)
        return (tmp_path / "r" / "index.html").read_text(encoding="utf-8")

    return make


class _Tags(HTMLParser):
    """Counts what is opened, and sees that it is closed."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _known(km):
    return {
        "probability_200km": 0.9,
        "radius_50_km": km,
        "nll": 7.0,
        "credible_low": 0.1,
        "credible_high": 0.2,
    }


def test_the_page_is_well_formed_and_fetches_nothing(write, make_row):
    rows = [
        make_row(HOSTILE, 3.0, **_known(2.0)),
        make_row("far.jpg", 9000.0, **_known(50.0)),
        make_row("no", None),
    ]
    page = write(rows, command=f"geotoken eval --from '{HOSTILE}'")
    tags = _Tags(page)
    assert tags.open == []
    assert [name for name, _ in tags.seen].count("table") == 2
    links = [value for _, attrs in tags.seen for name, value in attrs.items() if name in ("src", "href")]
    assert all(
        link.startswith(("#", "data:", "https://www.geonames.org", "https://creativecommons"))
        for link in links
    )
    assert "onerror" not in {name for _, attrs in tags.seen for name in attrs}
    assert "style" not in {name for _, attrs in tags.seen for name in attrs}, "the policy forbids it"
    assert "one &lt; two" in page


def test_rows_have_their_truth_answer_and_kind(write, make_row):
    page = write([make_row("a", 3.0), make_row("b", 900.0), make_row("c", 9000.0), make_row("d", None)])
    kinds = re.findall(
        r'data-kind="(\w+)" data-lat="0.000000" data-lng="0.000000"( data-to| class="failed")', page
    )
    assert kinds == [
        ("region", " data-to"),
        ("neighbor", " data-to"),
        ("answer", " data-to"),
        ("answer", ' class="failed"'),
    ]
    assert "no answer" in page


def test_the_best_worst_and_surest_wrong_are_shown_with_their_pictures(write, make_row, examples):
    rows = [make_row("near.jpg", 3.0, **_known(2.0)), make_row("far.jpg", 9000.0, **_known(50.0))]
    page = write(rows, {"near.jpg": str(examples / "himeji-castle.jpg"), "far.jpg": "gone.jpg"})
    assert page.count("data:image/jpeg;base64,") == 2, (
        "among the best and the worst; one has no file any more"
    )
    assert "Surest of what is more than 2,500 km off" in page


def test_what_is_not_known_has_no_plot(write, make_row):
    bare = write([make_row("a", 3.0)])
    known = write([make_row("a", 3.0, **_known(2.0))])
    assert bare.count("<figure>") == 1
    assert known.count("<figure>") >= 3
    assert "NLL, nats" in known
    assert "NLL, nats" not in bare


def test_systems_stand_side_by_side(write, make_row):
    other = summarise([make_row("a", 100.0)], FEW)
    page = write([make_row("a", 3.0)], others={"nearest_neighbor": other})
    assert '<th scope="col">nearest neighbor</th>' in page
    assert "halo" in page, "two lines have a legend"


def test_a_large_evaluation_shows_an_even_sample(write, make_row):
    names = ("true_country_code", "true_admin1", "country_code", "admin1")
    known = dict.fromkeys(names, "")  # which saves the search for them
    page = write([make_row(f"p{i}", 1.0, **known) for i in range(MAX_ROWS + 500)])
    assert page.count("<tr id=") == MAX_ROWS
    assert "5,000 of 5,500 photos" in page


def test_figures_stand_beside(write, make_row, tmp_path):
    write([make_row("a", 3.0)])
    assert json.loads((tmp_path / "r" / "evaluation.json").read_text())["n"] == 1
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "index.html",
        "evaluation.json",
        "geotoken-report.json",
    }


def test_a_place_that_cannot_be_written_is_named(make_row, tmp_path):
    (tmp_path / "file").write_text("")
    rows = [make_row("a", 1.0)]
    summary = summarise(rows, FEW)
    result = {**summary, "about": {}}
    with pytest.raises(InputError, match="--report"):
        write_report(tmp_path / "file", result, {"mine": summary}, rows)
