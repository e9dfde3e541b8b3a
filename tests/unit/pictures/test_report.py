import os
import re

import pytest

from geotoken.errors import InputError
from geotoken.pictures.report import Report, check_report_folder


def write(folder, *answers, **closing):
    report = Report(folder)
    for answer in answers:
        report.add(answer)
    report.close(**closing)
    return (folder / "index.html").read_text(encoding="utf-8")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_row_a_photo_and_a_page_for_each_that_was_located(tmp_path, prediction, failed):
    index = write(tmp_path / "report", prediction, failed, prediction)
    assert files(tmp_path / "report") == [
        "assets/outline.js",
        "assets/script.js",
        "assets/style.css",
        "geotoken-report.json",
        "index.html",
        "photos/0001.html",
        "photos/0003.html",
        "thumbnails/0001.jpg",
        "thumbnails/0003.jpg",
    ]
    rows = re.findall(r"<tr id=.*?</tr>", index, re.DOTALL)
    assert len(rows) == 3
    assert 'href="photos/0001.html"' in rows[0]
    assert f'data-lat="{prediction.lat:.6f}"' in rows[0]
    assert f'data-value="{prediction.radius_km(0.5):.6f}"' in rows[0]
    assert "Himeji" in rows[0]
    assert 'class="failed"' in rows[1]
    assert "cannot read" in rows[1]
    assert "href" not in rows[1]


def test_all_links_lead_to_files(tmp_path, prediction):
    write(tmp_path / "report", prediction)
    for page in ("index.html", "photos/0001.html"):
        path = tmp_path / "report" / page
        links = re.findall(r'(?:href|src)="(?!data:|https://)([^"#]+)', path.read_text(encoding="utf-8"))
        assert len(links) >= 4
        assert [link for link in links if not (path.parent / link).is_file()] == []


def test_strangers_cannot_add_elements(tmp_path, hostile, failed):
    index = write(tmp_path / "report", hostile, failed)
    assert "<img src=x" not in index
    assert "<b>" not in index
    assert index.count("</script>") == 2


def test_an_earlier_report_is_replaced_and_nothing_of_it_stays(tmp_path, prediction, failed):
    write(tmp_path, prediction, prediction, prediction)
    (tmp_path / "photos" / "notes.txt").write_text("mine", encoding="utf-8")
    index = write(tmp_path, failed, prediction)
    assert index.count("<tr id=") == 2
    kept = [name for name in files(tmp_path) if name.startswith(("photos", "thumbnails"))]
    assert kept == ["photos/0002.html", "photos/notes.txt", "thumbnails/0002.jpg"]


def test_a_discarded_report_keeps_the_earlier_table(tmp_path, prediction):
    before = write(tmp_path, prediction)
    report = Report(tmp_path)
    report.add(prediction)
    report.add(prediction)
    report.discard()
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == before
    assert not [name for name in files(tmp_path) if name.endswith(".part")]


def test_an_interrupted_report_says_so(tmp_path, prediction):
    assert "only the first 1 photo." in write(tmp_path, prediction, interrupted=True)


def test_a_folder_with_anything_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="something else"):
        Report(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.txt"]


@pytest.mark.parametrize("name", ["file", "missing/report"])
def test_places_where_no_report_can_be(tmp_path, name):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError):
        check_report_folder(tmp_path / name)


def test_a_missing_or_empty_folder_is_fine(tmp_path):
    check_report_folder(tmp_path)
    check_report_folder(tmp_path / "new")
    assert os.listdir(tmp_path) == []
