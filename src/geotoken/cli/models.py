"""`geotoken models`: which models there are, and what is in them.

Owns its flags and tables; must not know what the parts of a model do.
"""

from typing import Annotated, Any

import typer

from geotoken.cli.errors import exit_codes
from geotoken.cli.options import DEFAULT_MODEL, Debug, Json

app = typer.Typer(help="The models at hand.", no_args_is_help=True)


@app.command("list")
def list_models(json: Json = False, debug: Debug = False) -> None:
    """List the models that come with geotoken; nothing is downloaded."""
    with exit_codes(debug):
        from geotoken import words
        from geotoken.artifact import bundled_models, load_artifact
        from geotoken.cli.terminal import print_facts, print_json

        models = [load_artifact(folder) for folder in bundled_models().values()]
        if json:
            print_json(
                [
                    {
                        "name": one.name,
                        "folder": str(one.folder),
                        "head": one.head,
                        "size_bytes": one.num_bytes,
                    }
                    for one in models
                ]
            )
        else:
            print_facts({one.name: f"{one.head}, {words.size(one.num_bytes)}" for one in models})


@app.command("info")
def info(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Name of a bundled model, or a model folder.")
    ] = DEFAULT_MODEL,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Verify a model and tell what is in it."""
    with exit_codes(debug):
        from geotoken.cli.terminal import print_facts, print_json

        facts = _describe(name)
        if json:
            print_json(facts)
        else:
            print_facts(_in_words(facts))


def _describe(name: str) -> dict[str, Any]:
    """All about a model, JSON-ready."""
    from geotoken import places
    from geotoken.artifact import CARD_NAME, load_artifact
    from geotoken.gallery import Gallery
    from geotoken.images.embed import Encoder

    artifact = load_artifact(name)
    encoder = Encoder.load(artifact.folder / "encoder")
    gallery = Gallery.load(artifact.folder / "gallery")
    gallery.check_encoder(encoder.name, encoder.dim)
    return {
        "name": artifact.name,
        "folder": str(artifact.folder),
        "size_bytes": artifact.num_bytes,
        "num_files": len(artifact.manifest["files"]),
        "verified": True,
        "head": artifact.head,
        "scheme": {"level": artifact.scheme.level, "group_size": artifact.scheme.group_size},
        "encoder": {
            "name": encoder.name,
            "dim": encoder.dim,
            "source": encoder.config.source,
            "license": encoder.config.license,
        },
        "gallery": gallery.info(),
        "places": places.about(),
        "model_card": str(artifact.folder / CARD_NAME),
    }


def _in_words(facts: dict[str, Any]) -> dict[str, str]:
    from geotoken import words

    encoder, gallery, places, scheme = (facts[key] for key in ("encoder", "gallery", "places", "scheme"))
    return {
        "name": facts["name"],
        "folder": facts["folder"],
        "size": words.size(facts["size_bytes"]),
        "verified": f"size and sha256 of {words.plural(facts['num_files'], 'file')} are as in the manifest",
        "head": facts["head"],
        "tokens": f"level {scheme['level']}, {words.plural(scheme['group_size'], 'level')} a token",
        "encoder": f"{encoder['name']}, {encoder['dim']} numbers a photo",
        "weights": f"{encoder['source']}, {encoder['license']}",
        "gallery": f"{words.plural(gallery['num_photos'], 'photo')}, {gallery['index']}",
        "place names": f"{places['source']}, {places['date']}, {places['license']}",
        "model card": facts["model_card"],
    }
