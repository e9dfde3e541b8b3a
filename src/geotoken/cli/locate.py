"""`geotoken locate`: photos in, places out.

Owns its flags and the order of its output; must not know how a photo is located.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from geotoken.cli.errors import describe, exit_after_batch, exit_codes, print_error
from geotoken.cli.options import DEFAULT_MODEL, Debug, GalleryFolder, Json, Model
from geotoken.cli.pictures import Pictures
from geotoken.errors import ImageError, InputError

if TYPE_CHECKING:
    from geotoken.pipeline import Failure, Guess, LocateOptions, Locator
    from geotoken.prediction import Prediction

    Answer: TypeAlias = Prediction | Failure

UNAVAILABLE_METHODS = ("similarity", "reward")
"""Selection methods that need a trained model, which this version does not have."""

_EVIDENCE, _SEARCH = "Evidence", "Search"
_PICTURES = "Pictures"


def locate(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Photos, or folders to search for photos.")
    ],
    model: Model = DEFAULT_MODEL,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="NAME",
            help="Evidence model: mixture or transformer.",
            show_default="the model's own",
            rich_help_panel="Model",
        ),
    ] = None,
    gallery: GalleryFolder = None,
    guess: Annotated[
        list[str] | None,
        typer.Option(
            "--guess",
            metavar="LAT,LNG[,WEIGHT]",
            help="A place somebody believes in, as evidence; weight 1 is a typical good guess. Repeatable.",
            rich_help_panel=_EVIDENCE,
        ),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(
            "--within",
            metavar="REGION",
            help="Where the photo is known to be from: country=PE, bbox=W,S,E,N, near=LAT,LNG,KM or "
            "FILE.geojson. Repeatable: any of them.",
            rich_help_panel=_EVIDENCE,
        ),
    ] = None,
    together: Annotated[
        bool,
        typer.Option(
            "--together",
            metavar="",
            help="All photos show one place: join their evidence to one answer.",
            rich_help_panel=_EVIDENCE,
        ),
    ] = False,
    decoder: Annotated[
        str,
        typer.Option(
            "--decoder",
            metavar="NAME",
            help="How candidates are found: greedy, sample, beam or best_first.",
            rich_help_panel=_SEARCH,
        ),
    ] = "beam",
    beam_width: Annotated[
        int,
        typer.Option(
            "--beam-width", metavar="N", help="Hypotheses that beam keeps.", rich_help_panel=_SEARCH
        ),
    ] = 5,
    samples: Annotated[
        int,
        typer.Option("--samples", metavar="N", help="Samples that sample draws.", rich_help_panel=_SEARCH),
    ] = 30,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            metavar="T",
            help="Of the samples; below 1 the likely gets likelier.",
            rich_help_panel=_SEARCH,
        ),
    ] = 1.0,
    sample_top_k: Annotated[
        int | None,
        typer.Option(
            "--sample-top-k",
            metavar="N",
            help="Sample from the N likeliest tokens of each step.",
            show_default="all",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    sample_top_p: Annotated[
        float | None,
        typer.Option(
            "--sample-top-p",
            metavar="P",
            help="Sample from the likeliest tokens that together reach P.",
            show_default="all",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Seed of the samples.", rich_help_panel=_SEARCH)
    ] = 0,
    max_expansions: Annotated[
        int,
        typer.Option(
            "--max-expansions",
            metavar="N",
            help="Prefixes that best_first looks behind before it gives up its proof.",
            rich_help_panel=_SEARCH,
        ),
    ] = 20_000,
    select: Annotated[
        str,
        typer.Option(
            "--select",
            metavar="NAME",
            help="How the answer is chosen: log_prob, medoid or mbr.",
            rich_help_panel=_SEARCH,
        ),
    ] = "mbr",
    top_k: Annotated[
        int, typer.Option("--top-k", metavar="N", help="Candidates and neighbors listed at most by --json.")
    ] = 5,
    map_file: Annotated[
        str | None,
        typer.Option(
            "--map",
            metavar="FILE.html",
            help="Write one page with a map of every answer; it works offline.",
            rich_help_panel=_PICTURES,
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            "--report",
            metavar="DIR",
            help="Write a folder with a table of the answers, a map, and a page for each photo.",
            rich_help_panel=_PICTURES,
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell where photos were taken.

    One to three photos get the whole story each, more get a few lines each.

    A photo that cannot be read is reported, and the others are located all the same.
    """
    with exit_codes(debug):
        from geotoken.decoding import DecodingOptions
        from geotoken.pipeline import LocateOptions, Locator
        from geotoken.regions import Region

        options = LocateOptions(
            decoding=DecodingOptions(
                decoder=decoder,
                beam_width=beam_width,
                num_samples=samples,
                temperature=temperature,
                top_k=sample_top_k,
                top_p=sample_top_p,
                seed=seed,
                num_candidates=top_k,
                max_expansions=max_expansions,
            ),
            select=_available(select),
            guesses=tuple(parse_guess(text) for text in guess or ()),
            within=Region.union([Region.parse(text) for text in within]) if within else None,
        )
        photos = find_photos(paths)
        pictures = Pictures(map_file, report, paths)
        locator = Locator.from_pretrained(model, gallery=gallery, head=head)
        with pictures:
            answers = pictures.watch(_locate(locator, photos, options, together=together))
            if json:
                num_failed = _print_json(answers, len(photos), top_k)
            elif together:
                num_failed = _print_joint_panel(list(answers), locator)
            else:
                num_failed = _print_panels(answers, len(photos), locator)
        exit_after_batch(len(photos), num_failed)


def parse_guess(text: str) -> "Guess":
    """Read the value of `--guess`.

    Args:
        text: "LAT,LNG" or "LAT,LNG,WEIGHT".

    Returns:
        (lat, lng) or (lat, lng, weight).

    Raises:
        InputError: If it is neither, or a number is out of range.
    """
    from geotoken.pipeline import guess_evidence

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(map(math.isfinite, numbers)):
        raise InputError(
            f"--guess is {text!r}; give LAT,LNG or LAT,LNG,WEIGHT in degrees, such as --guess -33.9,18.4"
        )
    guess: Guess = (numbers[0], numbers[1], *numbers[2:])  # type: ignore[assignment]
    try:
        guess_evidence([guess])
    except InputError as error:
        reason = str(error).removeprefix("row 0: ")  # one guess has no rows to tell apart
        raise InputError(f"--guess is {text!r}: {reason}") from None
    return guess


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


def _available(method: str) -> str:
    if method in UNAVAILABLE_METHODS:
        raise InputError(
            f"--select {method} needs a trained model and is not available in this version; "
            "choose one of log_prob, medoid, mbr"
        )
    return method


def _locate(
    locator: "Locator", photos: "Sequence[Path | Failure]", options: "LocateOptions", *, together: bool
) -> "Iterator[Answer]":
    """One answer a photo, in order, as they come."""
    paths = [photo for photo in photos if isinstance(photo, Path)]
    run = locator.locate_together if together else locator.locate_many
    answers = iter(run(paths, options))
    for photo in photos:
        yield next(answers) if isinstance(photo, Path) else photo


def _print_json(answers: "Iterable[Answer]", num_photos: int, top_k: int) -> int:
    """Print the array; the number of failures is returned."""
    from geotoken.cli.terminal import JsonArray, ProgressBar
    from geotoken.pipeline import Failure
    from geotoken.prediction import error_to_dict

    num_failed = 0
    with ProgressBar("Locating") as bar, JsonArray() as array:
        bar.set(0, num_photos)
        for num_done, answer in enumerate(answers, start=1):
            with bar.paused():
                if isinstance(answer, Failure):
                    num_failed += 1
                    array.add(error_to_dict(answer.image, describe(answer.error)))
                    print_error(describe(answer.error))
                else:
                    array.add(answer.to_dict(top_k))
            bar.set(num_done, num_photos)
    return num_failed


def _print_panels(answers: "Iterable[Answer]", num_photos: int, locator: "Locator") -> int:
    """Print a panel a photo; the number of failures is returned."""
    from geotoken.cli.panel import FullPanel, ShortPanel, neighbor_labels
    from geotoken.cli.terminal import FEW, ProgressBar, stdout
    from geotoken.pipeline import Failure

    console, num_failed = stdout(), 0
    with ProgressBar("Locating") as bar:
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
