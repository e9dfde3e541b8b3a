"""`geotoken eval`: how good answers are where the truth is known.

Owns which flags go together, and what is written down about a run; must not know metrics.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from geotoken.cli.batch import check_no_input, terminable
from geotoken.cli.errors import exit_after_batch, exit_codes
from geotoken.cli.evaluate_options import (
    Baselines,
    Compare,
    Distance,
    Evidence,
    ExcludeDuplicates,
    ExcludeNear,
    ExcludeOwner,
    From,
    Images,
    JsonFile,
    LeakageCheck,
    Limit,
    Mllm,
    NoGuess,
    PredictionsFile,
    ReplayFile,
    ReportFolder,
    Resamples,
    Resume,
    Strict,
    TruthFile,
    UtilityName,
    Workers,
)
from geotoken.cli.mllm import Weight
from geotoken.cli.options import (
    DEFAULT_MODEL,
    BeamWidth,
    Debug,
    Decoder,
    GalleryFolder,
    Head,
    MaxExpansions,
    Model,
    Offline,
    Samples,
    SampleTopK,
    SampleTopP,
    Seed,
    Select,
    Temperature,
    check_workers,
)
from geotoken.errors import InputError

if TYPE_CHECKING:
    from geotoken.evaluate.summary import Measure

_SYSTEM_FLAGS: Final = (
    *("model", "head", "gallery", "offline", "no_guess", "baselines", "workers", "resume", "decoder"),
    *("beam_width", "samples", "temperature", "sample_top_k", "sample_top_p", "seed", "max_expansions"),
    *("select", "utility", "exclude_owner", "exclude_near", "exclude_duplicates", "leakage_check"),
    *("mllm", "replay", "mllm_weight"),
)
"""Parameters that only mean something where photos or evidence are located."""


def evaluate(
    ctx: typer.Context,
    evidence: Evidence = None,
    images: Images = None,
    from_: From = None,
    compare: Compare = None,
    truth: TruthFile = None,
    limit: Limit = None,
    no_guess: NoGuess = False,
    mllm: Mllm = None,
    replay: ReplayFile = None,
    mllm_weight: Weight = 1.0,
    baselines: Baselines = False,
    model: Model = DEFAULT_MODEL,
    head: Head = None,
    gallery: GalleryFolder = None,
    offline: Offline = False,
    decoder: Decoder = "beam",
    beam_width: BeamWidth = 5,
    samples: Samples = 30,
    temperature: Temperature = 1.0,
    sample_top_k: SampleTopK = None,
    sample_top_p: SampleTopP = None,
    seed: Seed = 0,
    max_expansions: MaxExpansions = 20_000,
    select: Select = "mbr",
    utility: UtilityName = None,
    exclude_owner: ExcludeOwner = False,
    exclude_near: ExcludeNear = None,
    exclude_duplicates: ExcludeDuplicates = None,
    leakage_check: LeakageCheck = False,
    distance: Distance = "haversine",
    strict: Strict = False,
    resamples: Resamples = 1000,
    json: JsonFile = None,
    predictions: PredictionsFile = None,
    report: ReportFolder = None,
    resume: Resume = False,
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Tell how good answers are where the truth is known.

    Accuracy, calibration and intervals of a model on an evidence table or on photos, of the predictions of
    any other system, or of two of them compared. A photo without an answer counts as wrong.
    """
    with exit_codes(debug), terminable():
        from geotoken.cli.evaluation import Evaluation
        from geotoken.cli.figures import print_comparison, print_summaries
        from geotoken.evaluate.files import check_destinations, write_json
        from geotoken.evaluate.summary import Measure

        inputs = _check_flags(ctx)
        measure = Measure(formula=distance, strict=strict, num_resamples=resamples)
        given = [path for path in (json, predictions) if path is not None]
        check_destinations(json, predictions, report)
        check_no_input(given, inputs)
        about = _about(ctx, inputs)
        if compare is not None:
            result = _compared(compare, truth, limit, measure)
            print_comparison(result)
            if json:
                write_json(json, {**result, "about": about})
            return
        run = Evaluation(ctx.params, measure, about)
        run.from_predictions() if from_ is not None else run.locate()
        print_summaries(run.summaries, run.notes)
        result = run.result()
        run.write(json, predictions, report, result)
        if images is not None:
            exit_after_batch(len(run.rows), result["num_failed"])


def _check_flags(ctx: typer.Context) -> list[Path]:
    """See that the flags given go together; the files that are read are returned.

    Raises:
        InputError: If they do not.
    """
    given = ctx.params
    sources = {"--evidence": "evidence", "--images": "images", "--from": "from_", "--compare": "compare"}
    named = [flag for flag, name in sources.items() if given[name] is not None]
    if len(named) != 1:
        what = " and ".join(named) or "nothing"
        raise InputError(f"eval was given {what} to evaluate; give one of {', '.join(sources)}")
    flag = named[0]
    refused: tuple[str, ...] = ()
    if flag in ("--from", "--compare"):
        refused = _SYSTEM_FLAGS if flag == "--from" else (*_SYSTEM_FLAGS, "predictions", "report")
    elif flag == "--evidence":
        refused = ("truth", "exclude_owner", "exclude_near", "exclude_duplicates", "leakage_check")
    else:
        refused = ("no_guess", "baselines")
    wrong = [name for name in refused if _was_given(ctx, name)]
    if wrong:
        raise InputError(f"--{wrong[0].replace('_', '-')} does not go with {flag}; leave one of them out")
    if (given["mllm"] is None) != (given["replay"] is None):
        raise InputError(
            "--mllm and --replay FILE go together, for eval asks no server; for a live model, evaluate by "
            "--from what geotoken locate --mllm --out FILE.csv has written"
        )
    if flag == "--images" and given["truth"] is None:
        raise InputError("--images needs the truth; give --truth FILE.csv with the columns image,lat,lng")
    if given["resume"] and given["predictions"] is None:
        raise InputError(
            "--resume goes on with what is kept beside --predictions; give --predictions FILE.csv"
        )
    if given["limit"] is not None and given["limit"] < 1:
        raise InputError(f"--limit is {given['limit']}; give a whole number of at least 1")
    check_workers(given["workers"])
    paths = [given[name] for name in ("evidence", "from_", "truth", "replay") if given[name] is not None]
    return [*paths, *(given["compare"] or ())]


def _was_given(ctx: typer.Context, name: str) -> bool:
    return getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"


def _about(ctx: typer.Context, inputs: Sequence[Path]) -> dict[str, Any]:
    """The command, the version, and the data with its hash."""
    from geotoken.cli.evaluation import hash_of
    from geotoken.version import __version__

    words = ["geotoken", "eval"]
    for parameter in ctx.command.params:
        name = str(parameter.name)
        if not _was_given(ctx, name):
            continue
        words.append(parameter.opts[0])
        value = ctx.params[name]
        if not isinstance(value, bool):
            words += map(str, value if isinstance(value, tuple | list) else [value])
    return {
        "command": shlex.join(words),
        "geotoken": __version__,
        "data": [path.name for path in inputs],
        "data_sha256": [hash_of(path) for path in inputs],
    }


def _compared(
    pair: tuple[Path, Path], truth: Path | None, limit: int | None, measure: "Measure"
) -> dict[str, Any]:
    from geotoken.cli.evaluation import truths_of
    from geotoken.evaluate.records import read_predictions
    from geotoken.evaluate.summary import compare

    truths = truths_of(truth, limit)
    first, second = (read_predictions(path, truths).rows[:limit] for path in pair)
    return {"names": [path.stem for path in pair], **compare(first, second, measure)}
