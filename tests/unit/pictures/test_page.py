import base64
import hashlib
import json
import os
import re

import pytest

from geotoken.errors import InputError
from geotoken.pictures import page
from geotoken.pictures.page import MapPage, check_map_file, script_json, template


def data_blocks(html):
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', html)]


@pytest.fixture
def written(tmp_path, prediction, failed):
    map_page = MapPage(tmp_path / "map.html")
    map_page.add(failed)
    map_page.add(prediction)
    map_page.add(prediction)
    assert os.listdir(tmp_path) != ["map.html"]
    map_page.close()
    assert os.listdir(tmp_path) == ["map.html"]
    return (tmp_path / "map.html").read_text(encoding="utf-8")


def test_each_located_photo_has_its_scene_and_thumbnail(written, prediction):
    assert [block["answer"] for block in data_blocks(written)] == [
        pytest.approx([prediction.lat, prediction.lng], abs=1e-6)
    ] * 2
    assert written.count("data:image/jpeg;base64,") == 2
    assert written.count('<details class="photo"') == 3
    assert written.count(" open>") == 1


def test_the_outline_of_a_region_is_on_the_page_once(tmp_path, prediction, failed):
    squares = [{"type": "Polygon", "coordinates": [[[0, 0], [i, 0], [i, i], [0, 0]]]} for i in (1, 2)]
    map_page = MapPage(tmp_path / "map.html")
    for answer, region in [(prediction, squares[0]), (failed, None), (prediction, squares[0])]:
        map_page.add(answer, region=region)
    map_page.add(prediction, region=squares[1])
    map_page.add(prediction)
    map_page.close()
    html = (tmp_path / "map.html").read_text(encoding="utf-8")
    outlines = re.findall(r'<script type="application/json" id="region-(\d)">(.*?)</script>', html)
    assert [(number, json.loads(text)) for number, text in outlines] == list(zip("12", squares, strict=True))
    assert [block["region"] for block in data_blocks(html)] == ["region-1", "region-1", "region-2", None]


def test_nothing_is_fetched_and_only_the_known_script_may_run(written):
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', written)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", written, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert not re.search(r"<(link|img|script)[^>]+(?:src|href)=\"(?!data:)", written)
    assert "style=" not in written


def test_strangers_cannot_end_the_script(tmp_path, hostile):
    map_page = MapPage(tmp_path / "map.html")
    map_page.add(hostile)
    map_page.close()
    html = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert html.count("</script>") == 3  # the scene, the outline, the script
    assert "onerror" in data_blocks(html)[0]["neighbors"][0][3]


def test_json_for_a_script():
    assert script_json({"a": "</script><!--"}) == '{"a":"\\u003c/script>\\u003c!--"}'
    assert json.loads(script_json("\u2028<")) == "\u2028<"


def test_an_interrupted_page_says_so(tmp_path, prediction):
    map_page = MapPage(tmp_path / "map.html")
    map_page.add(prediction)
    map_page.close(interrupted=True)
    assert "only the first 1 photo." in (tmp_path / "map.html").read_text(encoding="utf-8")


def test_a_discarded_page_leaves_what_was_there(tmp_path, prediction):
    path = tmp_path / "map.html"
    path.write_text("before", encoding="utf-8")
    map_page = MapPage(path)
    map_page.add(prediction)
    map_page.discard()
    assert os.listdir(tmp_path) == ["map.html"]
    assert path.read_text(encoding="utf-8") == "before"


@pytest.mark.parametrize("name", ["map.jpg", "map", "folder.html", "missing/map.html"])
def test_places_where_no_map_can_be(tmp_path, name):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError):
        check_map_file(tmp_path / name)


def test_a_pipe_is_no_place_for_a_map(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("pipes of POSIX")
    os.mkfifo(tmp_path / "pipe.html")
    with pytest.raises(InputError, match="regular"):
        check_map_file(tmp_path / "pipe.html")


def test_every_place_of_a_template_must_be_filled():
    with pytest.raises(KeyError):
        template("head.html", title="no more")


def test_linked_pages_allow_files_beside_them_only():
    policy = page.linked_assets("../assets/").policy
    assert "http" not in policy
    assert "unsafe" not in policy
