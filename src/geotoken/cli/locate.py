"""`geotoken locate`: photos in, places out.

Owns its flags and the order of its output; must not know how a photo is located.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from geotoken.cli import mllm as flags
from geotoken.cli.batch import (
    check_flags,
    check_no_input,
    choose_workers,
    in_processes,
    settings,
    terminable,
    to_row,
)
from geotoken.cli.batch import run as run_batch
from geotoken.cli.errors import describe, exit_after_batch, exit_codes, print_error
from geotoken.cli.options import (
    DEFAULT_MODEL,
    BeamWidth,
    Debug,
    Decoder,
    Engine,
    GalleryFolder,
    Guesses,
    Head,
    Json,
    MapFile,
    MaxExpansions,
    Model,
    Offline,
    Outputs,
    Paths,
    ReportFolder,
    Resume,
    Samples,
    SampleTopK,
    SampleTopP,
    Seed,
    Select,
    Temperature,
    Together,
    TopK,
    Within,
    Workers,
    check_engine,
    decoding_options,
)
from geotoken.cli.pictures import Pictures
from geotoken.errors import ImageError, InputError

if TYPE_CHECKING:
    from geotoken.pipeline import Failure, Locator
    from geotoken.prediction import Prediction

    Answer: TypeAlias = Prediction | Failure


def locate(
    ctx: typer.Context,
    paths: Paths,
    model: Model = DEFAULT_MODEL,
    head: Head = None,
    gallery: GalleryFolder = None,
    offline: Offline = False,
    guess: Guesses = None,
    within: Within = None,
    together: Together = False,
    decoder: Decoder = "beam",
    beam_width: BeamWidth = 5,
    samples: Samples = 30,
    temperature: Temperature = 1.0,
    sample_top_k: SampleTopK = None,
    sample_top_p: SampleTopP = None,
    seed: Seed = 0,
    max_expansions: MaxExpansions = 20_000,
    select: Select = "mbr",
    top_k: TopK = 5,
    map_file: MapFile = None,
    report: ReportFolder = None,
    json: Json = False,
    out: Outputs = None,
    resume: Resume = False,
    workers: Workers = None,
    engine: Engine = "local",
    mllm: flags.Mode = None,
    mllm_url: flags.Url = None,
    mllm_model: flags.ModelName = None,
    mllm_votes: flags.Votes = 1,
    mllm_weight: flags.Weight = 1.0,
    mllm_side: flags.Side = 768,
    mllm_max_tokens: flags.MaxTokens = 1024,
    mllm_dry_run: flags.DryRunFolder = None,
    mllm_concurrency: flags.Concurrency = 8,
    mllm_timeout: flags.Timeout = 60.0,
    mllm_retries: flags.Retries = 4,
    mllm_cache: flags.CacheFolder = None,
    max_requests: flags.MaxRequests = None,
    max_cost: flags.MaxCost = None,
    mllm_price_in: flags.PriceIn = None,
    mllm_price_out: flags.PriceOut = None,
    debug: Debug = False,
) -> None:
    """Tell where photos were taken.

    One to three photos get the whole story each, more get a few lines each; with --out, more get none.

    A photo that cannot be read is reported, and the others are located all the same.
    """
    with exit_codes(debug), terminable(), ExitStack() as cleanup:
        on_ray = check_engine(engine)
        asked = flags.mllm_options(ctx)
        pictured = map_file is not None or report is not None
        if not on_ray:
            check_flags(out, resume=resume, together=together, workers=workers, pictures=pictured)
        from geotoken.artifact import find_model
        from geotoken.cli.terminal import FEW
        from geotoken.evidence import parse_guess
        from geotoken.exports import Export
        from geotoken.pipeline import LocateOptions, Locator
        from geotoken.regions import Region

        options = LocateOptions(
            decoding=decoding_options(ctx.params, num_candidates=top_k),
            select=select,
            guesses=tuple(parse_guess(text) for text in guess or ()),
            within=Region.union([Region.parse(text) for text in within]) if within else None,
        )
        loaded: dict[str, Any] = {"model": model, "gallery": gallery, "head": head, "offline": offline}
        if on_ray:
            from geotoken.cli.scale import locate_on_ray

            return locate_on_ray(paths, options, loaded, ctx.params)
        photos = find_photos(paths)
        inputs = [*(photo for photo in photos if isinstance(photo, Path)), *(within or ())]
        check_no_input([*(out or ()), *([map_file] if map_file else ())], inputs)
        pictures = Pictures(map_file, report, paths, len(photos))
        locator = Locator.from_pretrained(**loaded)
        locator.check(options)
        judge = cleanup.enter_context(flags.judging(asked, mllm_cache, locator, options)) if asked else None
        detail = partial(flags.progress, judge.spending) if judge else None

        def run(photos: "Sequence[Path | Failure]") -> "Iterator[Answer]":
            if together:
                return pictures.watch(_locate(partial(locator.locate_together, options=options), photos))
            num_workers = choose_workers(workers, len(photos))
            many = cleanup.enter_context(in_processes(num_workers, locator, options, loaded))
            answers = _locate(many, photos)
            return pictures.watch(judge.judge(answers) if judge else answers)

        with pictures:
            if out:
                folder = find_model(model, offline=offline)
                given = ctx.params | ({"mllm_url": asked.url, "mllm_model": asked.model} if asked else {})
                export = Export(out, settings(given, folder, gallery), resume=resume)
                show = _shown(locator) if len(photos) <= FEW and not together else None
                num_failed = run_batch(
                    export, photos, run, top_k=top_k, as_json=json, show=show, detail=detail
                )
            elif json:
                num_failed = _print_json(run(photos), len(photos), top_k, detail)
            elif together:
                num_failed = _print_joint_panel(list(run(photos)), locator)
            else:
                num_failed = _print_panels(run(photos), len(photos), locator, detail)
        exit_after_batch(len(photos), num_failed)


def find_photos(paths: Sequence[str]) -> "list[Path | Failure]":
    """Expand folders; a path that leads to no photo is a photo that failed.

    Args:
        paths: Files and folders.

    Returns:
        Paths of photos and failures, in order, each once.

    Raises:
        InputError: If a path is empty, as from a shell variable that is not set.
    """
    from geotoken.images.read import EMPTY_PATH, find_images
    from geotoken.pipeline import Failure

    if "" in paths:
        raise InputError(EMPTY_PATH)
    photos: dict[str, Path | Failure] = {}
    for path in paths:
        try:
            found = find_images([path])
        except InputError as error:
            photos.setdefault(path, Failure(path, ImageError(str(error))))
            continue
        for photo in found:
            photos.setdefault(str(photo), photo)
    return list(photos.values())


def _shown(locator: "Locator") -> "Callable[[Prediction], None]":
    """What prints the whole panel of an answer."""
    from geotoken.cli.panel import FullPanel, neighbor_labels
    from geotoken.cli.terminal import stdout

    def show(answer: "Prediction") -> None:
        labels = neighbor_labels(answer.neighbors, locator.gallery.table)
        stdout().print(FullPanel(answer.image, [answer], [labels]))

    return show


def _locate(
    run: "Callable[[Sequence[Path]], Iterable[Answer]]", photos: "Sequence[Path | Failure]"
) -> "Iterator[Answer]":
    """One answer a photo, in order, as they come."""
    answers = iter(run([photo for photo in photos if isinstance(photo, Path)]))
    for photo in photos:
        yield next(answers) if isinstance(photo, Path) else photo


def _print_json(
    answers: "Iterable[Answer]", num_photos: int, top_k: int, detail: Callable[[], str] | None
) -> int:
    """Print the array; the number of failures is returned."""
    from geotoken.cli.terminal import JsonArray, ProgressBar
    from geotoken.pipeline import Failure

    num_failed = 0
    with ProgressBar("Locating", detail) as bar, JsonArray() as array:
        bar.set(0, num_photos)
        for num_done, answer in enumerate(answers, start=1):
            with bar.paused():
                if isinstance(answer, Failure):
                    num_failed += 1
                    print_error(describe(answer.error))
                array.add(to_row(answer, top_k))
            bar.set(num_done, num_photos)
    return num_failed


def _print_panels(
    answers: "Iterable[Answer]", num_photos: int, locator: "Locator", detail: Callable[[], str] | None
) -> int:
    """Print a panel a photo; the number of failures is returned."""
    from geotoken.cli.panel import FullPanel, ShortPanel, neighbor_labels
    from geotoken.cli.terminal import FEW, ProgressBar, stdout
    from geotoken.pipeline import Failure

    console, num_failed = stdout(), 0
    with ProgressBar("Locating", detail) as bar:
        bar.set(0, num_photos)
        for num_done, answer in enumerate(answers, start=1):
            with bar.paused():
                if isinstance(answer, Failure):
                    num_failed += 1
                    print_error(describe(answer.error))
                elif num_photos <= FEW:
                    labels = neighbor_labels(answer.neighbors, locator.gallery.table)
                    console.print(FullPanel(answer.image, [answer], [labels]))
                else:
                    console.print(ShortPanel(answer.image, answer))
            bar.set(num_done, num_photos)
    if num_failed and num_photos > 1:
        print_error(f"{num_failed} of {num_photos} photos could not be located")
    return num_failed


def _print_joint_panel(answers: "Sequence[Answer]", locator: "Locator") -> int:
    """Print one panel for all photos; the number of failures is returned."""
    from geotoken.cli.panel import FullPanel, neighbor_labels
    from geotoken.cli.terminal import stdout
    from geotoken.pipeline import Failure
    from geotoken.words import plural

    located = [answer for answer in answers if not isinstance(answer, Failure)]
    for answer in answers:
        if isinstance(answer, Failure):
            print_error(describe(answer.error))
    if located:
        title = located[0].image if len(located) == 1 else f"{plural(len(located), 'photo')} of one place"
        labels = [neighbor_labels(one.neighbors, locator.gallery.table) for one in located]
        stdout().print(FullPanel(title, located, labels))
    return len(answers) - len(located)
