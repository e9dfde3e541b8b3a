"""Questions against a faulty server: repeated when that may help, kept when paid, never beyond the budget."""

import asyncio
import json

import pytest

from geotoken.errors import InputError
from geotoken.mllm.answers import Answers, Reply
from geotoken.mllm.ask import DryRun, Request, ServerAsker
from mllm_server import BROKEN, RETRY_AFTER_S


@pytest.mark.parametrize("fault", [fault for fault in BROKEN if fault != "stall"])
def test_a_broken_request_is_repeated_until_it_is_answered(serve, options_for, ask, fault):
    server = serve(faults=[fault, fault])
    (outcome,), asker = ask(options_for(server))
    assert outcome.reply.text
    assert (outcome.num_requests, asker.spending.num_requests, asker.spending.num_repeated) == (3, 3, 2)
    assert sum(server.paid.values()) == 1


def test_a_stall_ends_at_the_time_limit(serve, options_for, ask):
    server = serve(faults=["stall"])
    (outcome,), _ = ask(options_for(server, timeout_s=0.3))
    assert outcome.num_requests == 2
    assert outcome.reply.text


def test_the_wait_asked_for_is_kept(serve, options_for, ask):
    server = serve(faults=["429"])
    ask(options_for(server))
    assert server.came_at[1] - server.came_at[0] >= RETRY_AFTER_S


def test_repetitions_end(serve, options_for, ask):
    server = serve(faults=["500"] * 10)
    (outcome,), _ = ask(options_for(server, retries=2))
    assert outcome.reply is None
    assert "500" in outcome.problem
    assert len(server.sent) == 3


def test_what_repetition_cannot_help_is_not_repeated(serve, options_for, ask):
    server = serve(faults=["huge"])
    (outcome,), _ = ask(options_for(server))
    assert "10,000,000" in outcome.problem
    assert len(server.sent) == 1


def test_another_dialect_is_tried_even_without_retries(serve, options_for, ask):
    server = serve(schema=False)
    outcomes, _ = ask(options_for(server, retries=0), "a1", "b2", "c3", "d4")
    assert all(outcome.reply for outcome in outcomes)


def test_no_question_is_paid_twice(serve, options_for, ask):
    server = serve()
    first, _ = ask(options_for(server), "a1", "b2")
    again, asker = ask(options_for(server), "a1", "b2", "c3")
    assert [outcome.cached for outcome in again] == [True, True, False]
    assert [outcome.reply for outcome in again[:2]] == [outcome.reply for outcome in first]
    assert (asker.spending.num_requests, asker.spending.num_cached) == (1, 2)
    assert len(server.sent) == 3


def test_no_more_requests_are_under_way_than_allowed(serve, options_for, ask):
    server = serve(latency_s=0.05)
    ask(options_for(server, concurrency=3), *(f"a{i}" for i in range(9)))
    assert server.most_under_way == 3


def test_the_number_of_requests_is_limited_with_repetitions(serve, options_for, ask):
    server = serve(faults=["500"])
    outcomes, asker = ask(options_for(server, max_requests=3, concurrency=1), "a1", "b2", "c3", "d4")
    assert len(server.sent) == asker.spending.num_requests == 3
    unanswered = [outcome for outcome in outcomes if outcome.reply is None]
    assert len(unanswered) == 2
    assert "--max-requests" in unanswered[-1].problem


def test_cost_is_limited_by_what_a_request_can_cost_and_counted_by_what_it_did(serve, options_for, ask):
    prices = {"price_in": 100.0, "price_out": 1000.0}  # 1,000 and 50 tokens: 0.1 + 0.05
    server = serve(latency_s=0.02)
    names = [f"a{i}" for i in range(8)]
    outcomes, asker = ask(options_for(server, max_cost=1.0, **prices), *names, most=0.4)
    assert asker.spending.cost == pytest.approx(0.15 * len(server.sent))
    assert asker.spending.cost <= 1.0
    assert len(server.sent) == 5  # 0.75 spent: one more could cost 0.4
    assert sum("--max-cost" in outcome.problem for outcome in outcomes) == 3


@pytest.mark.parametrize(("others", "key"), [({"key": "k"}, "wrong"), ({"model": "another"}, None)])
def test_wrong_settings_end_the_run_before_the_first_answer(serve, options_for, ask, others, key):
    with pytest.raises(InputError, match=r"check --mllm-url .* --mllm-model test and the key") as caught:
        ask(options_for(serve(**others)), key=key)
    assert "wrong" not in str(caught.value).replace("wrong key", "")


def test_after_an_answer_a_lost_server_costs_only_the_photo(serve, options_for, ask):
    server = serve()
    server.key = None
    options = options_for(server, concurrency=1, retries=0)

    def once(body):
        server.redirect = "http://127.0.0.1:9/"
        return "-33.9, 18.4"

    server.answer = once
    outcomes, _ = ask(options, "a1", "b2")
    lost, answered = sorted(outcomes, key=lambda one: one.reply is not None)  # either may be first
    assert answered.reply
    assert "307" in lost.problem


def test_stopped_it_sends_nothing_more(options_for, tmp_path):
    async def run():
        asker = ServerAsker(options_for("http://127.0.0.1:9/v1"), None, Answers(tmp_path))
        asker.stop()
        outcome = await asker.ask(Request(name="a", key="a" * 64, messages=None, schema={}, most=0.0))
        await asker.close()
        return outcome

    outcome = asyncio.run(run())
    assert (outcome.reply, outcome.num_requests) == (None, 0)


def test_an_answer_that_cannot_be_kept_ends_the_run(serve, options_for, ask, monkeypatch):
    def full(self, key, reply):
        raise InputError("no space")

    monkeypatch.setattr(Answers, "put", full)
    with pytest.raises(InputError, match="no space"):
        ask(options_for(serve()))


def test_a_dry_run_writes_the_request_and_sends_nothing(serve, options_for, tmp_path):
    server, folder = serve(), tmp_path / "dry"
    options = options_for(server, dry_run=folder)

    async def messages():
        return [{"role": "user", "content": "Where?"}]

    dry = DryRun(options, folder)
    request = Request(name="000001", key="", messages=messages, schema={"type": "object"}, most=0.0)
    outcome = asyncio.run(dry.ask(request))
    written = json.loads((folder / "000001.json").read_text())
    assert written["url"] == f"{server.url}/chat/completions"
    assert written["body"]["messages"][0]["content"] == "Where?"
    assert "dry run" in outcome.problem
    assert server.sent == []
    with pytest.raises(InputError, match="not empty"):
        DryRun(options, folder)


def test_kept_replies_are_those_that_were_put(tmp_path):
    reply = Reply(text="x", tokens_in=1, tokens_out=2)
    Answers(tmp_path).put("ab" * 32, reply)
    assert Answers(tmp_path).get("ab" * 32) == reply
