"""Many photos at once: in order, none lost, none paid twice, and an end without loose ends."""

import dataclasses
import json
import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image

from geotoken.errors import ImageError, InputError
from geotoken.mllm import Answers, Judge
from geotoken.pipeline import Failure, LocateOptions
from mllm_server import BROKEN, FAULTS, faulty


@pytest.fixture
def photos(own, tmp_path):
    """Answers about small photos, no two of which are equal."""
    found = []
    for i in range(12):
        path = tmp_path / f"photo-{i:02d}.png"
        Image.new("RGB", (40, 30), (20 * i, 0, 0)).save(path)
        found.append(dataclasses.replace(own, image=str(path)))
    return found


@pytest.fixture
def judge_all(locator, tmp_path):
    """Judge answers to the end."""

    def run(options, answers, **others):
        told = []
        kept = Answers(tmp_path / "answers")
        with Judge(locator, options, LocateOptions(), kept, tell=told.append, **others) as judge:
            found = list(judge.judge(iter(answers)))
        return found, judge.spending, told

    return run


def test_every_photo_gets_its_answer_in_order_through_every_fault(serve, options_for, photos, judge_all):
    server = serve(
        lambda body: '{"latitude": -33.9, "longitude": 18.4}', faults=faulty(0.6, BROKEN), latency_s=0.05
    )
    answers = [photos[0], Failure("bad.jpg", ImageError("bad")), *photos[1:]]
    found, spending, _ = judge_all(options_for(server, concurrency=4, timeout_s=1.0), answers)
    assert [one.image for one in found] == [one.image for one in answers]
    assert all(one.opinion.problem == "" for one in found if not isinstance(one, Failure))
    assert set(server.paid.values()) == {1}
    assert len(server.paid) == len(photos)
    assert max(server.attempts.values()) <= 2
    assert spending.num_requests == len(server.sent) > len(photos)
    again, spending, _ = judge_all(options_for(server, concurrency=4), answers)
    assert spending.num_requests == 0
    assert spending.num_cached == len(photos)
    assert [getattr(one, "lat", None) for one in again] == [getattr(one, "lat", None) for one in found]


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in BROKEN])
def test_what_cannot_be_used_leaves_the_own_answer(serve, options_for, own, judge_all, fault):
    mode = "pool" if fault == "wrong_candidate" else "free"
    (found,), _, _ = judge_all(options_for(serve(faults=[fault]), mode=mode), [own])
    good = {"integers": (-34.0, 18.0), "swapped": (-33.9, 151.2)}
    if fault in good:
        assert (found.lat, found.lng) == good[fault]
    else:
        assert found.to_dict()["source"] == "geotoken"
        assert (found.lat, found.lng) == (own.lat, own.lng)


def test_votes_are_questions_of_their_own(serve, options_for, own, judge_all):
    places = iter(["10, 20", "10, 21", "50, 60"])
    server = serve(lambda body: next(places))
    (found,), spending, _ = judge_all(options_for(server, votes=3, mode="fuse"), [own])
    assert spending.num_requests == 3
    assert sorted(found.evidence.guess_lat) == [10.0, 10.0, 50.0]
    assert [said.problem for said in found.opinion.answers] == ["", "", ""]


def test_cost_is_told_a_photo(serve, options_for, own, judge_all):
    (found,), spending, _ = judge_all(options_for(serve(), price_in=100.0, price_out=1000.0), [own])
    assert found.opinion.cost == spending.cost == pytest.approx(0.15)
    assert found.to_dict()["mllm"]["cost"] == found.opinion.cost


def test_a_photo_that_is_gone_keeps_its_answer(serve, options_for, photos, judge_all):
    Path(photos[0].image).unlink()
    found, _, _ = judge_all(options_for(serve()), photos[:2])
    assert "can be read no more" in found[0].opinion.problem
    assert found[1].opinion.problem == ""


def test_settings_that_are_wrong_end_the_run(serve, options_for, photos, judge_all):
    with pytest.raises(InputError, match="cannot be asked"):
        judge_all(options_for(serve(key="right")), photos, key="wrong")
    assert not [thread for thread in threading.enumerate() if thread.name == "mllm"]


def test_ended_early_it_keeps_what_is_under_way_and_asks_no_more(
    serve, options_for, photos, locator, tmp_path
):
    server, told = serve(latency_s=0.4), []
    options = options_for(server, concurrency=3)
    answers = Answers(tmp_path / "answers")

    def interrupted():
        with Judge(locator, options, LocateOptions(), answers, tell=told.append) as judge:
            next(judge.judge(photos))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert any("waiting up to 10 s" in line for line in told)
    num_paid = sum(server.paid.values())
    assert num_paid == len(server.sent) == len(list(answers.folder.rglob("*.json")))
    assert 3 <= num_paid < len(photos)
    with Judge(locator, options, LocateOptions(), answers) as judge:
        assert len(list(judge.judge(photos))) == len(photos)
    assert set(server.paid.values()) == {1}


def test_a_dry_run_writes_a_request_a_photo_and_sends_nothing(serve, options_for, photos, locator, tmp_path):
    server, folder = serve(), tmp_path / "dry"
    options = options_for(server, dry_run=folder, votes=2)
    with Judge(locator, options, LocateOptions(), None) as judge:
        found = list(judge.judge(photos[:2]))
    assert sorted(path.name for path in folder.iterdir()) == [
        "000001-1.json", "000001-2.json", "000002-1.json", "000002-2.json",
    ]  # fmt: skip
    body = json.loads((folder / "000001-1.json").read_text())["body"]
    assert body["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert server.sent == []
    assert all("dry run" in one.opinion.problem for one in found)


def test_what_does_not_fit_is_refused(locator, options_for):
    with pytest.raises(InputError, match="similarity"):
        Judge(locator, options_for("http://h/v1", mode="fuse"), LocateOptions(select="similarity"), None)
    with pytest.raises(InputError, match="a folder to keep answers in"):
        Judge(locator, options_for("http://h/v1"), LocateOptions(), None)


def test_equal_photos_of_other_names_are_asked_once(serve, options_for, own, himeji, judge_all, tmp_path):
    server = serve()
    judge_all(options_for(server), [own])
    copy = tmp_path / "copy.jpg"
    shutil.copy(himeji, copy)
    judge_all(options_for(server), [dataclasses.replace(own, image=str(copy))])
    assert len(server.sent) == 1
