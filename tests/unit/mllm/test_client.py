"""Requests to a real server on loopback: what is sent, and what each fault means."""

import asyncio
import json
import socket
from importlib.util import find_spec

import pytest

from geotoken.errors import DependencyError, InputError
from geotoken.mllm import client
from geotoken.mllm.client import Client, NoReply, request_body

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
MESSAGES = [{"role": "user", "content": "Where?"}]


def send(options, key=None, times=1):
    """Ask some times with one client; the replies or faults."""

    async def run():
        connection, found = Client(options, key), []
        for _ in range(times):
            try:
                found.append(await connection.ask(MESSAGES, SCHEMA))
            except NoReply as fault:
                found.append(fault)
        await connection.close()
        return found

    return asyncio.run(run())


def test_an_answer_has_words_and_counts_of_tokens(serve, options_for):
    (reply,) = send(options_for(serve(lambda body: "-33.9, 18.4")))
    assert (reply.text, reply.problem, reply.tokens_in, reply.tokens_out) == ("-33.9, 18.4", "", 1000, 50)


def test_headers_tell_nothing_but_the_key(serve, options_for, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-mine")
    server = serve()
    send(options_for(server), key="sk-secret")
    send(options_for(server))
    first, second = [sent.headers for sent in server.sent]
    assert first.pop("authorization") == "Bearer sk-secret"
    assert first == second
    assert set(first) == {
        *("host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length"),
        "x-stainless-raw-response",
    }
    assert first["user-agent"].startswith("geotoken/")


@pytest.mark.parametrize(
    ("fault", "message", "again", "charged"),
    [
        ("429", r"the server says 429 \(slow down\)", True, False),
        ("500", r"the server says 500 \(an internal fault\)", True, False),
        ("reset", "the connection broke", True, True),
        ("half", "the connection broke", True, True),
        ("malformed", "no chat completion in JSON", True, True),
        ("huge", "more than 10,000,000 bytes", False, True),
        ("stall", r"no answer within 0.5 s \(--mllm-timeout\)", True, True),
    ],
)
def test_each_fault_is_told(serve, options_for, fault, message, again, charged):
    (found,) = send(options_for(serve(faults=[fault]), timeout_s=0.5 if fault == "stall" else 5.0))
    assert isinstance(found, NoReply)
    with pytest.raises(NoReply, match=message):
        raise found
    assert (found.again, found.charged) == (again, charged)
    assert found.after_s == (1.0 if fault == "429" else None)


def test_a_refusal_is_an_answer_with_a_problem(serve, options_for):
    (reply,) = send(options_for(serve(faults=["refusal"])))
    assert reply.problem == "it declined to answer"
    assert reply.text.startswith("I cannot")


def test_a_server_without_schemas_is_asked_without(serve, options_for):
    server = serve(schema=False)
    first, *others = send(options_for(server), times=3)
    assert first.learned
    assert [reply.problem for reply in others] == ["", ""]
    assert ["response_format" in sent.body for sent in server.sent] == [False, False]


def test_a_server_that_wants_another_name_for_the_limit_gets_it(serve, options_for):
    server = serve()
    server.refusal_of = lambda body: "use max_completion_tokens instead" if "max_tokens" in body else ""
    first, reply = send(options_for(server, max_tokens=77), times=2)
    assert first.learned
    assert reply.text
    assert server.sent[-1].body["max_completion_tokens"] == 77


def test_what_is_refused_for_another_reason_stays_refused_and_unlearns_nothing(serve, options_for):
    server = serve()
    server.refusal_of = lambda body: "this model reads no images"
    found = send(options_for(server), times=2)
    assert [fault.learned for fault in found] == [True, False]
    server.refusal_of = lambda body: ""
    connection = send(options_for(server))
    assert connection[0].problem == ""
    assert "response_format" in server.sent[-1].body


@pytest.mark.parametrize(
    ("others", "message"),
    [({"key": "right"}, "the server says 401"), ({"model": "another"}, "404 .model 'test' not found")],
)
def test_a_wrong_key_or_model_is_a_wrong_setting_and_no_key_is_quoted(serve, options_for, others, message):
    (found,) = send(options_for(serve(**others)), key="sk-secret")
    assert found.wrong_settings
    assert "sk-secret" not in str(found)
    with pytest.raises(NoReply, match=message):
        raise found


def test_a_server_that_is_not_there_is_a_wrong_setting(options_for):
    with socket.socket() as bound:  # but it does not listen
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        (found,) = send(options_for(url))
    assert found.wrong_settings
    assert not found.charged
    assert f"{url} cannot be reached" in str(found)


def test_nothing_is_sent_elsewhere(serve, options_for):
    other, server = serve(), serve()
    server.redirect = other.url + "/chat/completions"
    (found,) = send(options_for(server))
    assert found.wrong_settings
    assert "307" in str(found)
    assert other.sent == []


def test_a_packed_answer_is_refused(serve, options_for):
    server = serve()
    server.packed = True
    (found,) = send(options_for(server))
    assert "packed" in str(found)


@pytest.mark.parametrize(
    ("value", "seconds"), [("2.5", 2.5), ("-1", 0.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), ("soon", None)]
)
def test_the_wait_that_a_server_asks_for_is_read(value, seconds):
    assert client._retry_after({"retry-after": value}) == seconds


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": 3}]}', b"\xff", b"[" * 100_000],
)
def test_what_is_no_chat_completion_is_no_reply(body):
    with pytest.raises(NoReply, match="no chat completion"):
        client._reply(body)


def test_answers_of_unusual_shape_are_read():
    parts = {
        "choices": [{"message": {"content": [{"text": "-33.9,"}, {"text": " 18.4"}]}}],
        "usage": {"prompt_tokens": "x"},
    }
    reply = client._reply(json.dumps(parts).encode())
    assert (reply.text, reply.tokens_in) == ("-33.9, 18.4", None)
    cut = {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}
    assert "cut short" in client._reply(json.dumps(cut).encode()).problem


def test_the_body_is_what_openai_asks_for(options_for):
    body = request_body(options_for("http://h/v1", max_tokens=99), MESSAGES, SCHEMA)
    assert set(body) == {"model", "messages", "max_tokens", "response_format"}
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "response_format" not in request_body(options_for("http://h/v1"), MESSAGES, None)


@pytest.mark.parametrize("key", ["two\nlines", "Schlüssel", "x7 y8"])
def test_a_key_that_no_header_can_hold_is_refused_unquoted(options_for, key):
    with pytest.raises(InputError, match="GEOTOKEN_MLLM_API_KEY") as caught:
        Client(options_for("http://h/v1"), key)
    assert not any(part in str(caught.value) for part in key.split())


def test_the_end_of_the_line_is_no_part_of_a_key(serve, options_for):
    server = serve(key="right")
    assert send(options_for(server), key="right\n")[0].text


def test_without_the_client_the_extra_is_named(options_for, monkeypatch):
    monkeypatch.setattr(client, "find_spec", lambda name: None if name == "openai" else find_spec(name))
    with pytest.raises(DependencyError, match=r"geotoken\[mllm\]"):
        Client(options_for("http://h/v1"), None)
