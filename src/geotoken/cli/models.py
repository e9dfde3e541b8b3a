"""`geotoken models`: which models there are, what is in them, and how they come and go.

Owns its flags and tables; must not know what the parts of a model do.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geotoken.cli.errors import exit_codes
from geotoken.cli.options import DEFAULT_MODEL, Debug, Json, Offline

if TYPE_CHECKING:
    from geotoken.artifact import Artifact

app = typer.Typer(help="The models at hand, and those on the hub.", no_args_is_help=True)


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
        str,
        typer.Argument(
            metavar="[NAME]",
            help="Name of a bundled model, a model folder, or owner/name on the hub.",
        ),
    ] = DEFAULT_MODEL,
    offline: Offline = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Verify a model and tell what is in it."""
    with exit_codes(debug):
        from geotoken.cli.terminal import print_facts, print_json

        facts = _describe(name, offline)
        if json:
            print_json(facts)
        else:
            print_facts(_in_words(facts))


@app.command("pull")
def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="owner/name on the hub, or owner/name@revision: a branch, tag or commit; or geoclip.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="geoclip only: the model folder to make."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            metavar="FOLDER",
            help="geoclip only: CLIP ViT-L/14 in the hub's format, instead of the hub's own.",
        ),
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(
            "--heads", metavar="WHEEL", help="geoclip only: its package, instead of the installed or PyPI's."
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Download a model from the hub, verify it, and keep it for use without a network.

    What is there and undamaged is not downloaded again. Needs the extra `hub`.

    The name geoclip fetches CLIP from the hub, GeoCLIP's heads and places from PyPI, and assembles them.
    Needs the extra `backbones`.
    """
    with exit_codes(debug):
        from geotoken import words
        from geotoken.cli.terminal import print_facts, print_json

        artifact = _fetch(name, out, backbone, heads)
        facts = {
            "name": artifact.name,
            **_origin(artifact),
            "folder": str(artifact.folder),
            "size_bytes": artifact.num_bytes,
            "num_files": len(artifact.manifest["files"]),
            "verified": True,
        }
        if json:
            print_json(facts)
        else:
            print_facts(
                {
                    "name": artifact.name,
                    "from": _from(artifact),
                    "folder": str(artifact.folder),
                    "size": words.size(artifact.num_bytes),
                    "verified": _verified(facts),
                }
            )


@app.command("push")
def push(
    model: Annotated[
        str, typer.Argument(metavar="FOLDER", help="A model folder, or the name of a bundled model.")
    ],
    repo_id: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Where on the hub; made if it does not exist.")
    ],
    private: Annotated[
        bool, typer.Option("--private", metavar="", help="Let nobody else see it; refused if it is public.")
    ] = False,
    message: Annotated[
        str | None,
        typer.Option("--message", metavar="TEXT", help="What is new.", show_default="the model's name"),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Publish a model folder on the hub, with its model card, in one commit.

    The coordinates and attributions of every photo in its gallery are published with it. Needs the extra
    `hub` and a login: `hf auth login`, or HF_TOKEN.
    """
    with exit_codes(debug):
        from geotoken.artifact import push_to_hub
        from geotoken.cli.terminal import print_facts, print_json

        pushed = push_to_hub(model, repo_id, private=private, message=message)
        if json:
            print_json({"hub_id": pushed.repo_id, "revision": pushed.revision, "url": pushed.url})
        else:
            print_facts({"pushed": f"{pushed.repo_id}@{pushed.revision}", "url": pushed.url})


def _fetch(name: str, out: Path | None, backbone: str | None, heads: Path | None) -> "Artifact":
    """Download a model, or its parts.

    Raises:
        InputError: A flag does not go with the name.
    """
    from geotoken.artifact import GEOCLIP, pull_from_hub
    from geotoken.errors import InputError

    if name != GEOCLIP:
        if out or backbone or heads:
            raise InputError("--out, --backbone and --heads are for geoclip only; leave them out")
        return pull_from_hub(name)
    from geotoken.assembly import pull_geoclip
    from geotoken.cli.terminal import ProgressBar

    with ProgressBar("Assembling") as bar:
        return pull_geoclip(out, backbone=backbone or "clip", heads=heads, progress=bar.set)


def _origin(artifact: "Artifact") -> dict[str, str | None]:
    """Which model on the hub it is, and the hash of its commit; JSON-ready."""
    if artifact.origin is None:
        return {"hub_id": None, "revision": None}
    return {"hub_id": artifact.origin.repo_id, "revision": artifact.origin.revision}


def _from(artifact: "Artifact") -> str:
    from geotoken.artifact import GEOCLIP

    if artifact.name == GEOCLIP and artifact.origin is None:
        return "its parts, assembled here; its card names them and their licences"
    return str(artifact.origin or "this package, nothing to pull")


def _verified(facts: dict[str, Any]) -> str:
    from geotoken import words

    return f"size and sha256 of {words.plural(facts['num_files'], 'file')} are as in the manifest"


def _describe(name: str, offline: bool) -> dict[str, Any]:
    """All about a model, JSON-ready."""
    from geotoken import places
    from geotoken.artifact import CARD_NAME, load_artifact
    from geotoken.backbones import load_encoder
    from geotoken.gallery import Gallery

    artifact = load_artifact(name, offline=offline)
    encoder = load_encoder(artifact.folder / "encoder")
    gallery = Gallery.load(artifact.folder / "gallery")
    gallery.check_encoder(encoder.name, encoder.dim)
    return {
        "name": artifact.name,
        **_origin(artifact),
        "folder": str(artifact.folder),
        "size_bytes": artifact.num_bytes,
        "num_files": len(artifact.manifest["files"]),
        "verified": True,
        "head": artifact.head,
        "scheme": {"level": artifact.scheme.level, "group_size": artifact.scheme.group_size},
        "encoder": {
            "name": encoder.name,
            "dim": encoder.dim,
            "source": encoder.source,
            "license": encoder.license,
        },
        "gallery": gallery.info(),
        "places": places.about(),
        "model_card": str(artifact.folder / CARD_NAME),
    }


def _in_words(facts: dict[str, Any]) -> dict[str, str]:
    from geotoken import words

    encoder, gallery, places, scheme = (facts[key] for key in ("encoder", "gallery", "places", "scheme"))
    hub = {"hub": f"{facts['hub_id']}@{facts['revision']}"} if facts["hub_id"] else {}
    return {
        "name": facts["name"],
        **hub,
        "folder": facts["folder"],
        "size": words.size(facts["size_bytes"]),
        "verified": _verified(facts),
        "head": facts["head"],
        "tokens": f"level {scheme['level']}, {words.plural(scheme['group_size'], 'level')} a token",
        "encoder": f"{encoder['name']}, {encoder['dim']} numbers a photo",
        "weights": f"{encoder['source']}, {encoder['license']}",
        "gallery": f"{words.plural(gallery['num_photos'], 'photo')}, {gallery['index']}",
        "place names": f"{places['source']}, {places['date']}, {places['license']}",
        "model card": facts["model_card"],
    }
