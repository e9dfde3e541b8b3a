"""`geotoken gallery`: build a gallery of one's own, search it, look at it.

Owns its flags and tables; must not know how galleries are stored.
"""

from pathlib import Path
from typing import Annotated

import typer

from geotoken.cli.errors import exit_after_batch, exit_codes, print_error
from geotoken.cli.options import DEFAULT_MODEL, Debug, GalleryFolder, Json, Model

app = typer.Typer(help="Geotagged photos to compare with.", no_args_is_help=True)


@app.command("build")
def build(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Folder of photos with GPS in their EXIF, or a CSV with image, lat, lng."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The gallery folder to make.")],
    model: Model = DEFAULT_MODEL,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar="", help="Replace a gallery that is already there.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a gallery of photos whose place is known, with the model's encoder."""
    with exit_codes(debug):
        from geotoken import words
        from geotoken.artifact import find_model
        from geotoken.cli.terminal import ProgressBar, print_json
        from geotoken.gallery import build_gallery
        from geotoken.images.embed import Encoder

        encoder = Encoder.load(find_model(model) / "encoder")
        with ProgressBar("Embedding") as bar:
            report = build_gallery(source, encoder, out, overwrite=overwrite, progress=bar.set)
        for error in report.errors:
            print_error(f"{error.image}: {error.reason}")
        if json:
            print_json(
                {
                    "folder": str(out),
                    "num_added": report.num_added,
                    "errors": [{"image": one.image, "reason": one.reason} for one in report.errors],
                    "duplicates": [{"image": one.image, "first": one.first} for one in report.duplicates],
                }
            )
        else:
            print(f"{words.plural(report.num_added, 'photo')} in the gallery {words.printable(str(out))}")
            if report.unused_columns:
                print(words.printable(f"columns not used: {', '.join(report.unused_columns)}"))
            for one in report.duplicates:
                print(words.printable(f"left out: {one.image} is the same file as {one.first}"))
        exit_after_batch(report.num_added + len(report.errors), len(report.errors))


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
        from geotoken.cli.panel import neighbor_labels, neighbors_table
        from geotoken.cli.terminal import print_json, stdout
        from geotoken.gallery import Gallery
        from geotoken.images.embed import Encoder
        from geotoken.images.read import read
        from geotoken.prediction import neighbors_to_list

        folder = find_model(model)
        encoder = Encoder.load(folder / "encoder")
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
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Verify a gallery and tell what is in it."""
    with exit_codes(debug):
        from geotoken import words
        from geotoken.artifact import find_model
        from geotoken.cli.terminal import print_facts, print_json
        from geotoken.gallery import Gallery

        root = find_model(DEFAULT_MODEL) / "gallery" if folder is None else folder
        facts = {"folder": str(root), **Gallery.load(root).info()}
        if json:
            print_json(facts)
            return
        west, south, east, north = facts["bbox"]
        kinds = (f"{number:,} {kind}" for kind, number in facts["coord_precision"].items())
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
            }
        )
