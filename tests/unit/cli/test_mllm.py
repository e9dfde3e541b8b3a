"""Flags of --mllm: what is needed, what does not fit, and what is said before and after."""

import pytest
import typer
from typer.main import get_command

from geotoken.cli import app, mllm
from geotoken.errors import InputError
from geotoken.mllm import MllmOptions
from geotoken.mllm.budget import Spending

OPTIONS = {"mode": "free", "url": "http://127.0.0.1:1/v1", "model": "m"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    """No server, model or key in the environment."""
    for name in (*mllm._KEYS, *mllm._URLS, mllm._MODEL):
        monkeypatch.delenv(name, raising=False)


def context(*arguments):
    command = get_command(app).commands["locate"]
    return command.make_context("locate", ["photo.jpg", *arguments])


def test_nothing_is_asked_unless_it_is_asked_for():
    assert mllm.mllm_options(context()) is None


def test_flags_become_options():
    options = mllm.mllm_options(
        context(*"--mllm pool --mllm-url http://h/v1 --mllm-model m --mllm-votes 3 --mllm-side 512".split(),
                *"--max-requests 7 --max-cost 2 --mllm-price-in 1 --mllm-price-out 3".split())
    )  # fmt: skip
    assert options == MllmOptions(
        mode="pool", url="http://h/v1", model="m", votes=3, side=512, max_requests=7, max_cost=2.0,
        price_in=1.0, price_out=3.0,
    )  # fmt: skip


def test_server_and_model_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://openai/v1")
    assert mllm.mllm_options(context("--mllm", "free")).model == "default"
    monkeypatch.setenv("GEOTOKEN_MLLM_MODEL", "from-environment")
    options = mllm.mllm_options(context("--mllm", "free"))
    assert (options.url, options.model) == ("http://openai/v1", "from-environment")
    monkeypatch.setenv("GEOTOKEN_MLLM_URL", "http://ours/v1")
    assert mllm.mllm_options(context("--mllm", "free")).url == "http://ours/v1"
    assert (
        mllm.mllm_options(context("--mllm", "free", "--mllm-url", "http://flag/v1")).url == "http://flag/v1"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--mllm free", "--mllm needs --mllm-url"),
        ("--mllm-votes 3", "--mllm-votes does nothing without --mllm"),
        ("--max-cost 3", "--max-cost does nothing without --mllm"),
        ("--mllm guess --mllm-url http://h/v1 --mllm-model m", "choose one of pool, free, fuse"),
        ("--mllm free --mllm-url http://h/v1 --mllm-model m --together", "--together"),
        ("--mllm free --mllm-url http://h/v1 --mllm-model m --engine ray", "--engine ray"),
        ("--mllm free --mllm-url http://h/v1 --mllm-model m --max-cost 3", "needs prices"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_told(arguments, message):
    with pytest.raises(InputError, match=message):
        mllm.mllm_options(context(*arguments.split()))


@pytest.mark.parametrize("mode", ["pool", "free", "fuse"])
def test_what_is_sent_and_where_is_said_without_the_key(mode):
    plain = mllm._announcement(MllmOptions(**OPTIONS | {"mode": mode}), with_key=True)
    assert "http://127.0.0.1:1/v1" in plain
    assert "unencrypted" in plain
    assert "with your key" in plain
    assert "without metadata" in plain
    assert ("candidate places" in plain) == (mode != "fuse")
    encrypted = MllmOptions(**OPTIONS | {"url": "https://h/v1"})
    assert "unencrypted" not in mllm._announcement(encrypted, with_key=False)


def test_a_dry_run_says_that_nothing_is_sent(tmp_path):
    options = MllmOptions(**OPTIONS, dry_run=tmp_path)
    assert mllm._announcement(options, with_key=True).startswith("dry run: nothing is sent")


def test_an_account_names_requests_cost_and_what_was_not_answered():
    spending = Spending(num_requests=12, num_repeated=2, num_cached=3, num_fallbacks=1, cost=0.0123)
    assert mllm._account(spending) == (
        "12 requests, cost 0.0123, 2 of them repeated, 3 answers known before, "
        "1 photo kept geotoken's own answer"
    )
    assert mllm.progress(Spending(num_requests=1)) == "1 request"


def test_parameters_without_effect_exist():
    names = {parameter.name for parameter in get_command(app).commands["locate"].params}
    assert set(mllm.WITHOUT_EFFECT) <= names
    assert isinstance(get_command(app), typer.core.TyperGroup)
