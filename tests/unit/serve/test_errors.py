import pytest

from geotoken.serve.errors import MAX_LETTERS, STATUSES, Refusal, body_of, code_of, one_line


def test_every_code_has_an_error_status():
    assert all(400 <= status <= 599 for status in STATUSES.values())


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (405, "method_not_allowed"), (418, "bad_request"), (502, "internal_error")],
)
def test_a_status_of_a_library_has_a_code(status, code):
    assert code_of(status) == code


def test_a_refusal_has_the_headers_of_its_kind():
    assert Refusal("busy", "x", retry_after_s=3).headers == {"Retry-After": "3"}
    assert Refusal("unauthorized", "x").headers == {"WWW-Authenticate": "Bearer"}
    assert (Refusal("too_large", "x").status, Refusal("too_large", "x").headers) == (413, {})


def test_the_shape():
    assert body_of("busy", "why", "7") == {"error": {"code": "busy", "message": "why", "request_id": "7"}}
    assert body_of("busy", "why") == {"error": {"code": "busy", "message": "why"}}


def test_a_message_is_one_short_printable_line():
    line = one_line("a\nb\x1b[31m\u202e" + "x" * 1000)
    assert line.startswith("a b\\x1b[31m\\u202e")
    assert len(line) <= MAX_LETTERS
    assert line.isprintable()
