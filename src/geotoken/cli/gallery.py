"""`geotoken gallery`: build a gallery of one's own, change it, search it, look at it.

Owns its flags and tables; must not know how galleries are stored.
"""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geotoken.cli.errors import INTERRUPTED, exit_after_batch, exit_codes, print_error
from geotoken.cli.options import DEFAULT_MODEL, Debug, GalleryFolder, Json, Model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geotoken.gallery import BuildReport, Duplicate
    from geotoken.gallery.build import Progress

app = typer.Typer(help="Geotagged photos to compare with.", no_args_is_help=True)

_INDEXING = "Making the index"

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="Folder of photos with GPS in EXIF, XMP or Takeout JSON; CSV with image, lat, lng; or GeoJSON.",
    ),
]
Changed = Annotated[Path, typer.Argument(metavar="GALLERY", help="The gallery folder to change.")]
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The gallery folder to make.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", metavar="", help="Replace a gallery that is already there.")
]
Resume = Annotated[
    bool, typer.Option("--resume", metavar="", help="Go on where the same command was stopped.")
]
Index = Annotated[
    str,
    typer.Option("--index", metavar="KIND", help="How to search it: exact, hnsw, ivfpq, or auto by size."),
]


@app.command("build")
def build(
    source: Source,
    out: Out,
    model: Model = DEFAULT_MODEL,
    index: Index = "auto",
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a gallery of photos whose place is known, with the model's encoder."""
    with exit_codes(debug):
        from geotoken.artifact import find_model
        from geotoken.backbones import load_encoder
        from geotoken.gallery import build_gallery

        encoder = load_encoder(find_model(model) / "encoder")
        with _embedding() as progress:
            report = build_gallery(
                source, encoder, out, overwrite=overwrite, resume=resume, index=index, progress=progress
            )
        _tell_build(report, out, "in", json)


@app.command("add")
def add(
    gallery: Changed,
    source: Source,
    model: Model = DEFAULT_MODEL,
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="KIND",
            help="How to search it then: exact, hnsw, ivfpq, or auto by size.",
            show_default="as chosen before",
        ),
    ] = None,
    resume: Resume = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Add photos to a gallery; files that it has already are left out."""
    with exit_codes(debug):
        from geotoken.artifact import find_model
        from geotoken.backbones import load_encoder
        from geotoken.gallery import add_photos

        encoder = load_encoder(find_model(model) / "encoder")
        with _embedding() as progress:
            report = add_photos(gallery, source, encoder, resume=resume, index=index, progress=progress)
        _tell_build(report, gallery, "added to", json)


@app.command("remove")
def remove(
    gallery: Changed,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Photo to take out; repeatable.")
    ] = None,
    owners: Annotated[
        list[str] | None,
        typer.Option("--owner", metavar="OWNER", help="Take out all photos of this owner; repeatable."),
    ] = None,
    hashes: Annotated[
        list[str] | None,
        typer.Option(
            "--sha256", metavar="HASH", help="Photo to take out, by its file's hash or the first 12 digits."
        ),
    ] = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="Text file of ids to take out, one a line.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Take photos out of a gallery."""
    with exit_codes(debug):
        from geotoken import words
        from geotoken.cli.terminal import print_json, waiting
        from geotoken.gallery import remove_photos

        listed = [] if list_file is None else _read_list(list_file)
        with waiting(_INDEXING):
            report = remove_photos(
                gallery, ids=[*(ids or ()), *listed], owners=owners or (), hashes=hashes or ()
            )
        if json:
            facts = {"num_removed": report.num_removed, "num_photos": report.num_photos}
            print_json({"folder": str(gallery), **facts})
        else:
            print(f"{words.plural(report.num_removed, 'photo')} removed, {report.num_photos:,} left")


@app.command("merge")
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The gallery folder to make.")],
    galleries: Annotated[
        list[Path], typer.Argument(metavar="GALLERY", help="Galleries made with the same encoder.")
    ],
    index: Index = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Join galleries; of photos that are the same file the first stays."""
    with exit_codes(debug):
        from geotoken import words
        from geotoken.cli.terminal import print_json, waiting
        from geotoken.gallery import merge_galleries

        with waiting(_INDEXING):
            report = merge_galleries(out, galleries, index=index, overwrite=overwrite)
        if json:
            duplicates = [{"image": one.image, "first": one.first} for one in report.duplicates]
            print_json({"folder": str(out), "num_photos": report.num_photos, "duplicates": duplicates})
        else:
            print(f"{words.plural(report.num_photos, 'photo')} in the gallery {words.printable(str(out))}")
            _tell_duplicates(report.duplicates)


@app.command("reindex")
def reindex(
    gallery: Changed,
    index: Index = "auto",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the search index of a gallery again, or one of another kind."""
    with exit_codes(debug):
        from geotoken import words
        from geotoken.cli.terminal import print_json, waiting
        from geotoken.gallery import Gallery, reindex_gallery

        with waiting(_INDEXING):
            report = reindex_gallery(gallery, index=index)
        made = Gallery.load(gallery).info()["index"]
        if json:
            print_json({"folder": str(gallery), "num_photos": report.num_photos, "index": made})
        else:
            print(f"{words.plural(report.num_photos, 'photo')}: {made}")


@app.command("search")
def search(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to compare.")],
    gallery: GalleryFolder = None,
    model: Model = DEFAULT_MODEL,
    k: Annotated[int, typer.Option("-k", metavar="N", help="Photos to find.")] = 10,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Find the photos of a gallery that look most like a photo."""
    with exit_codes(debug):
        from geotoken.artifact import find_model
        from geotoken.backbones import load_encoder
        from geotoken.cli.panel import neighbor_labels, neighbors_table
        from geotoken.cli.terminal import print_json, stdout
        from geotoken.gallery import Gallery
        from geotoken.images.read import read
        from geotoken.prediction import neighbors_to_list

        folder = find_model(model)
        encoder = load_encoder(folder / "encoder")
        found = Gallery.load(folder / "gallery" if gallery is None else gallery)
        found.check_encoder(encoder.name, encoder.dim)
        vectors = encoder.embed([read(photo, min_side=encoder.min_side).pixels])
        neighbors = found.search(vectors, k)[0]
        if json:
            print_json({"image": str(photo), "neighbors": neighbors_to_list(neighbors, k)})
        else:
            stdout().print(neighbors_table(neighbors, neighbor_labels(neighbors, found.table)))


@app.command("info")
def info(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="A gallery folder.", show_default="that of the model mini"),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", metavar="", help="Also measure how much of an exact search the index finds."),
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Verify the checksums of a gallery and tell what is in it."""
    with exit_codes(debug):
        from dataclasses import asdict

        from geotoken import words
        from geotoken.artifact import find_model
        from geotoken.cli.terminal import print_facts, print_json
        from geotoken.gallery import Gallery, measure_recall

        root = find_model(DEFAULT_MODEL) / "gallery" if folder is None else folder
        gallery = Gallery.load(root)
        facts = {"folder": str(root), **gallery.info()}
        recall = measure_recall(gallery) if check else None
        if recall is not None:
            facts["check"] = {"checksums": "verified", **asdict(recall)}
        if json:
            print_json(facts)
            return
        west, south, east, north = facts["bbox"]
        kinds = (f"{number:,} {kind}" for kind, number in facts["coord_precision"].items())
        checked = {}
        if recall is not None:
            checked["checksums"] = "verified"
            share = f"{recall.recall_at_15:.3f} of an exact search"
            checked["recall@15"] = f"{share}, over {words.plural(recall.num_queries, 'photo')}"
        print_facts(
            {
                "folder": facts["folder"],
                "photos": f"{facts['num_photos']:,}",
                "vectors": f"{facts['dim']} numbers each, {facts['index']}",
                "encoder": facts["encoder"],
                "from": words.coordinates(south, west),
                "to": words.coordinates(north, east),
                "coordinates": ", ".join(kinds),
                "size": words.size(facts["size_bytes"]),
                **checked,
            }
        )


@contextmanager
def _embedding() -> "Iterator[Progress]":
    """Show how far an embedding is, also when it is interrupted.

    Yields:
        What takes the photos done and the photos in all.

    Raises:
        Exit: If it was interrupted.
    """
    from geotoken.cli.terminal import ProgressBar
    from geotoken.gallery.build import SHARD_SIZE

    num_kept = num_photos = 0

    def progress(num_done: int, total: int) -> None:
        nonlocal num_kept, num_photos
        num_kept, num_photos = num_done if num_done == total else num_done - num_done % SHARD_SIZE, total
        bar.set(num_done, total)
        if num_done == total:
            bar.wait(_INDEXING)

    try:
        with ProgressBar("Embedding") as bar:
            bar.wait("Reading the source")
            yield progress
    except KeyboardInterrupt as stop:
        so_far = f": {num_kept:,} of {num_photos:,} photos are kept" if num_photos else ""
        print_error(f"interrupted{so_far}; the same command with --resume goes on from there")
        raise typer.Exit(INTERRUPTED) from stop


def _tell_build(report: "BuildReport", folder: Path, verb: str, json: bool) -> None:
    """Print what became of the photos of a source, and end with the exit code of its errors."""
    from geotoken import words
    from geotoken.cli.terminal import print_json

    for error in report.errors:
        print_error(f"{error.image}: {error.reason}")
    if json:
        print_json(
            {
                "folder": str(folder),
                "num_added": report.num_added,
                "errors": [{"image": one.image, "reason": one.reason} for one in report.errors],
                "duplicates": [{"image": one.image, "first": one.first} for one in report.duplicates],
            }
        )
    else:
        print(f"{words.plural(report.num_added, 'photo')} {verb} the gallery {words.printable(str(folder))}")
        if report.unused_columns:
            print(words.printable(f"columns not used: {', '.join(report.unused_columns)}"))
        _tell_duplicates(report.duplicates)
    num_photos = report.num_added + len(report.duplicates) + len(report.errors)
    exit_after_batch(num_photos, len(report.errors))


def _tell_duplicates(duplicates: "list[Duplicate]") -> None:
    from geotoken import words

    for one in duplicates:
        print(words.printable(f"left out: {one.image} is the same file as {one.first}"))


def _read_list(path: Path) -> list[str]:
    from geotoken.errors import InputError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise InputError(f"{path} cannot be read ({reason}); give a text file with one id a line") from error
    return [line.strip() for line in lines if line.strip()]
