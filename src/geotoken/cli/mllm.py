"""`--mllm`: a multimodal language model asked about the photos that were located.

Owns its flags, where its key and its cache come from, and what is said before and after; must not know
requests.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from geotoken.errors import InputError

if TYPE_CHECKING:
    from geotoken.mllm import Judge, MllmOptions
    from geotoken.mllm.budget import Spending
    from geotoken.pipeline import LocateOptions, Locator

_PANEL = "Multimodal language model"
_KEYS: Final = ("GEOTOKEN_MLLM_API_KEY", "OPENAI_API_KEY")
_URLS: Final = ("GEOTOKEN_MLLM_URL", "OPENAI_BASE_URL")
_MODEL: Final = "GEOTOKEN_MLLM_MODEL"

WITHOUT_EFFECT: Final = (
    *("mllm_concurrency", "mllm_timeout", "mllm_retries", "mllm_cache", "mllm_price_in", "mllm_price_out"),
    *("max_requests", "max_cost"),
)
"""Parameters that do not change what is answered, unless a limit is met."""

Mode = Annotated[
    str | None,
    typer.Option(
        "--mllm",
        metavar="MODE",
        help="Send photos to a multimodal model: pool (it chooses a candidate), free (it answers anything, "
        "knowing the candidates) or fuse (its answer is evidence).",
        show_default="nothing is sent",
        rich_help_panel=_PANEL,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--mllm-url",
        metavar="URL",
        help="Base URL of a server with OpenAI's chat interface; or GEOTOKEN_MLLM_URL.",
        rich_help_panel=_PANEL,
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--mllm-model",
        metavar="NAME",
        help="Model, as the server knows it; or GEOTOKEN_MLLM_MODEL. A key is only read from "
        "GEOTOKEN_MLLM_API_KEY or OPENAI_API_KEY.",
        show_default="default, which servers of one model take",
        rich_help_panel=_PANEL,
    ),
]
Votes = Annotated[
    int,
    typer.Option("--mllm-votes", metavar="N", help="Answers asked for a photo.", rich_help_panel=_PANEL),
]
Weight = Annotated[
    float,
    typer.Option(
        "--mllm-weight",
        metavar="W",
        help="Of all its votes in fuse; 1 is a typical good guess, 2 doubles its odds.",
        rich_help_panel=_PANEL,
    ),
]
Side = Annotated[
    int,
    typer.Option(
        "--mllm-side", metavar="PIXELS", help="Longest side of the photo sent.", rich_help_panel=_PANEL
    ),
]
MaxTokens = Annotated[
    int,
    typer.Option("--mllm-max-tokens", metavar="N", help="Longest answer in tokens.", rich_help_panel=_PANEL),
]
DryRunFolder = Annotated[
    Path | None,
    typer.Option(
        "--mllm-dry-run",
        metavar="DIR",
        help="Write the requests to a new folder instead of sending them.",
        rich_help_panel=_PANEL,
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(
        "--mllm-concurrency", metavar="N", help="Requests under way at most.", rich_help_panel=_PANEL
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--mllm-timeout", metavar="SECONDS", help="Time limit of a request.", rich_help_panel=_PANEL
    ),
]
Retries = Annotated[
    int,
    typer.Option(
        "--mllm-retries", metavar="N", help="Repetitions of a failed request.", rich_help_panel=_PANEL
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--mllm-cache",
        metavar="DIR",
        help="Where answers are kept, so that none is paid twice.",
        show_default="geotoken/mllm in the user's cache",
        rich_help_panel=_PANEL,
    ),
]
MaxRequests = Annotated[
    int | None,
    typer.Option(
        "--max-requests",
        metavar="N",
        help="Requests sent at most; then answers are geotoken's own.",
        show_default="any number",
        rich_help_panel=_PANEL,
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        metavar="PRICE",
        help="Cost at most, likewise; needs the two prices.",
        show_default="any",
        rich_help_panel=_PANEL,
    ),
]
PriceIn = Annotated[
    float | None,
    typer.Option(
        "--mllm-price-in", metavar="PRICE", help="Of a million tokens of questions.", rich_help_panel=_PANEL
    ),
]
PriceOut = Annotated[
    float | None,
    typer.Option(
        "--mllm-price-out", metavar="PRICE", help="Of a million tokens of answers.", rich_help_panel=_PANEL
    ),
]


def mllm_options(ctx: typer.Context) -> "MllmOptions | None":
    """What a command's flags, and the environment, say of the multimodal model.

    Args:
        ctx: The command's context.

    Returns:
        The options; None if none shall be asked.

    Raises:
        InputError: If a value is missing or out of range, or a flag does not go with another.
    """
    given = ctx.params
    if given["mllm"] is None:
        ours = [p for p in ctx.command.params if str(p.name).startswith("mllm_") or p.name in WITHOUT_EFFECT]
        flags = [p.opts[0] for p in ours if _was_given(ctx, str(p.name))]
        if flags:
            raise InputError(f"{flags[0]} does nothing without --mllm; add --mllm pool, free or fuse")
        return None
    for name, flag in (("together", "--together"), ("engine", "--engine ray")):
        if given.get(name) not in (False, "local", None):
            raise InputError(
                f"--mllm does not go with {flag}, for it asks about each photo here; leave one out"
            )
    url = given["mllm_url"] or _environment(*_URLS)
    if url is None:
        raise InputError(
            f"--mllm needs --mllm-url, such as http://127.0.0.1:11434/v1; or set {' or '.join(_URLS)}"
        )
    from geotoken.mllm import MllmOptions

    return MllmOptions(
        mode=given["mllm"],
        url=url,
        model=given["mllm_model"] or _environment(_MODEL) or "default",
        votes=given["mllm_votes"],
        weight=given["mllm_weight"],
        side=given["mllm_side"],
        max_tokens=given["mllm_max_tokens"],
        timeout_s=given["mllm_timeout"],
        retries=given["mllm_retries"],
        concurrency=given["mllm_concurrency"],
        max_requests=given["max_requests"],
        max_cost=given["max_cost"],
        price_in=given["mllm_price_in"],
        price_out=given["mllm_price_out"],
        dry_run=given["mllm_dry_run"],
    )


@contextmanager
def judging(
    options: "MllmOptions", cache: Path | None, locator: "Locator", located: "LocateOptions"
) -> "Iterator[Judge]":
    """Ask a multimodal model; say before what is sent and where, and after what it came to.

    Args:
        options: How it is asked.
        cache: Where answers are kept.
        locator: What locates the photos.
        located: How.

    Yields:
        What judges answers.
    """
    from geotoken.mllm import Answers, Judge

    key = _environment(*_KEYS)
    answers = None if options.dry_run else Answers(cache or _user_cache() / "geotoken" / "mllm")
    judge = Judge(locator, options, located, answers, key=key, tell=_tell)
    _tell(_announcement(options, with_key=key is not None))
    try:
        with judge:
            yield judge
    finally:
        _tell(_account(judge.spending))


def progress(spending: "Spending") -> str:
    """What a run has asked for so far, in few words.

    Args:
        spending: The counts.

    Returns:
        Such as "12 requests, cost 0.0031".
    """
    from geotoken.words import plural

    text = plural(spending.num_requests, "request")
    return text if spending.cost is None else f"{text}, cost {spending.cost:.4f}"


def _account(spending: "Spending") -> str:
    """What a run came to."""
    from geotoken.words import plural

    parts = [progress(spending)]
    if spending.num_repeated:
        parts.append(f"{spending.num_repeated:,} of them repeated")
    parts.append(f"{plural(spending.num_cached, 'answer')} known before")
    if spending.num_fallbacks:
        parts.append(f"{plural(spending.num_fallbacks, 'photo')} kept geotoken's own answer")
    return ", ".join(parts)


def _announcement(options: "MllmOptions", *, with_key: bool) -> str:
    """What is sent, and where."""
    told = {
        "pool": "and the coordinates and names of candidate places",
        "free": "and the coordinates and names of candidate places and of similar photos' places",
        "fuse": "and nothing else",
    }[options.mode]
    what = f"each photo, as a JPEG of at most {options.side} pixels without metadata, {told}"
    if options.dry_run is not None:
        return f"dry run: nothing is sent; {options.dry_run} gets what would be: {what}"
    how = "" if options.is_encrypted else ", unencrypted"
    return f"sending to {options.model} at {options.url}{how}{', with your key' if with_key else ''}: {what}"


def _tell(line: str) -> None:
    from geotoken.words import printable

    print(f"mllm: {printable(line)}", file=sys.stderr, flush=True)


def _environment(*names: str) -> str | None:
    """The first of some environment variables that has a value."""
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _user_cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(given) if given else Path.home() / ".cache"


def _was_given(ctx: typer.Context, name: str) -> bool:
    return getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"
