"""Options are checked where they are made, and each message names the flag."""

import pytest

from geotoken.errors import InputError
from geotoken.mllm import MODES, MllmOptions

GOOD = {"mode": "free", "url": "http://127.0.0.1:11434/v1", "model": "m"}


@pytest.mark.parametrize("mode", MODES)
def test_good_options(mode):
    options = MllmOptions(**GOOD | {"mode": mode})
    assert (options.host, options.is_encrypted) == ("127.0.0.1:11434", False)
    assert MllmOptions(**GOOD | {"url": "https://api.openai.com/v1"}).is_encrypted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "judge"}, "--mllm"),
        ({"url": "localhost:8000"}, "--mllm-url"),
        ({"url": "ftp://h/v1"}, "--mllm-url"),
        ({"url": "http://h:99999/v1"}, "--mllm-url"),
        ({"url": "http://me:secret@h/v1"}, "GEOTOKEN_MLLM_API_KEY"),
        ({"url": "http://h/v1?key=secret"}, "GEOTOKEN_MLLM_API_KEY"),
        ({"model": " "}, "--mllm-model"),
        ({"votes": 0}, "--mllm-votes"),
        ({"weight": 0.0}, "--mllm-weight"),
        ({"weight": float("nan")}, "--mllm-weight"),
        ({"side": 10}, "--mllm-side"),
        ({"timeout_s": 0.0}, "--mllm-timeout"),
        ({"concurrency": 0}, "--mllm-concurrency"),
        ({"retries": -1}, "--mllm-retries"),
        ({"max_requests": -1}, "--max-requests"),
        ({"max_cost": 1.0}, "needs prices"),
        ({"price_in": 1.0}, "both"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(InputError, match=message) as caught:
        MllmOptions(**GOOD | wrong)
    assert "secret" not in str(caught.value)
