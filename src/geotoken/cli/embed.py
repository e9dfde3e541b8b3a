"""`geotoken embed`: photos of a source to a feature store.

Owns its flags and messages; must not know how stores are kept.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geotoken.cli.errors import exit_after_batch, exit_codes, print_error
from geotoken.cli.options import DEFAULT_MODEL, SCALE, Debug, Engine, Json, Offline, check_engine
from geotoken.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from geotoken.images.embed import ImageEncoder


def embed(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of photos with GPS, CSV with image, lat, lng, GeoJSON, .tar files, or a data set.",
        ),
    ],
    out: Annotated[str, typer.Option("--out", metavar="STORE", help="The feature store to make.")],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="[NAME=]MODEL",
            help="Embed with a model's encoder, as the modality NAME, else image; repeatable.",
            show_default=f"image={DEFAULT_MODEL}",
            rich_help_panel="Encoders",
        ),
    ] = None,
    backbones: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone",
            metavar="[NAME=]BACKBONE",
            help="Embed with clip, siglip2, streetclip, dinov2, dinov3, a folder, or OWNER/NAME; repeatable.",
            rich_help_panel="Encoders",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="DEVICE",
            help="Where backbones compute, such as cpu or cuda:1.",
            show_default="a GPU if there is one",
            rich_help_panel="Encoders",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar="TYPE",
            help="What backbones compute in: float32, bfloat16 or float16.",
            show_default="bfloat16 on a GPU, else float32",
            rich_help_panel="Encoders",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            "--layout", metavar="LAYOUT", help="photos, webdataset, mp16, osv5m, yfcc4k, im2gps3k, or auto."
        ),
    ] = "auto",
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="Folder or .tar with the photos of a data set.",
            show_default="where its CSV is",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Split of rows for which the source names none."),
    ] = None,
    shard_size: Annotated[
        int, typer.Option("--shard-size", metavar="N", help="Photos in one shard: what a kill loses at most.")
    ] = 8192,
    engine: Engine = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help="Workers of --engine ray.",
            show_default="one a CPU",
            rich_help_panel=SCALE,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", metavar="", help="Go on where the same command was stopped.")
    ] = False,
    offline: Offline = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Turn photos whose place is known into stored features: 16-bit vectors and a table of the same rows."""
    with exit_codes(debug):
        from geotoken import words
        from geotoken.cli.terminal import ProgressBar, print_json
        from geotoken.features import embed_source, open_items

        load = partial(_encoders, models, backbones, offline=offline)
        with ProgressBar("Embedding") as bar:
            if check_engine(engine):
                _check_ray(layout, images)
                from geotoken.scale import EmbedJob, embed_on_ray, plan_photos

                plan = plan_photos([source], block_photos=shard_size)
                job = EmbedJob(split=split, **_for_workers(load, device, dtype))
                report = embed_on_ray(plan, job, out, num_workers=workers, resume=resume, progress=bar.set)
            else:
                _check_local(workers)
                opened = open_items(source, layout=layout, images=images)
                report = embed_source(
                    opened, load((device, dtype)), Path(out), resume=resume, split=split,
                    shard_items=shard_size, progress=bar.set,
                )  # fmt: skip
        for error in report.failures:
            print_error(f"{error.image}: {error.reason}")
        if json:
            failures = [{"image": one.image, "reason": one.reason} for one in report.failures]
            print_json({"folder": out, "num_rows": report.num_rows, "dims": report.dims, "errors": failures})
        else:
            kinds = ", ".join(f"{name} ({dim} numbers)" for name, dim in report.dims.items())
            photos = words.plural(report.num_rows, "photo")
            print(words.printable(f"{photos} in the feature store {out}: {kinds}"))
        exit_after_batch(report.num_rows + len(report.failures), len(report.failures))


def _check_ray(layout: str, images: Path | None) -> None:
    """Refuse what Ray does not read.

    Raises:
        InputError: It is a published data set.
    """
    if layout not in ("auto", "photos", "webdataset") or images is not None:
        raise InputError(
            f"--engine ray reads folders, manifests and tars, not --layout {layout} or --images; list the "
            "photos of a data set in a CSV with image, lat, lng, owner, split"
        )


def _for_workers(
    load: "Callable[..., dict[str, ImageEncoder]]", device: str | None, dtype: str | None
) -> dict[str, Any]:
    """What loads encoders in workers, which see one GPU each if any, and here, where there may be none."""
    if device is None or not device.startswith("cuda"):
        return {"make_encoders": partial(load, (device, dtype), num_threads=1)}
    dtype = dtype or "bfloat16"  # as on a GPU; here it would be another
    return {
        "make_encoders": partial(load, ("cuda", dtype), num_threads=1),
        "make_here": partial(load, ("cpu", dtype)),
        "num_gpus": 1,
    }


def _check_local(workers: int | None) -> None:
    """Refuse a flag that only Ray has a use for.

    Raises:
        InputError: It was given.
    """
    if workers is not None:
        raise InputError("--workers is for --engine ray; leave it out")


def _encoders(
    models: list[str] | None,
    backbones: list[str] | None,
    options: tuple[str | None, str | None],
    *,
    offline: bool = False,
    num_threads: int | None = None,
) -> "dict[str, ImageEncoder]":
    """Encoders by modality.

    Raises:
        InputError: Two have the same modality, or a flag has nothing to act on.
    """
    from geotoken.artifact import find_model
    from geotoken.backbones import load_backbone, load_encoder

    if not models and not backbones:
        models = [DEFAULT_MODEL]
    device, dtype = options
    if (device or dtype) and not backbones:
        raise InputError("--device and --dtype are for --backbone; give one, or leave them out")
    named = [(*_split(text), False) for text in models or ()] + [
        (*_split(text), True) for text in backbones or ()
    ]
    encoders: dict[str, ImageEncoder] = {}
    for name, what, is_backbone in named:
        if name in encoders:
            raise InputError(
                f"two encoders make the modality {name!r}; name them, as in --backbone look=dinov2"
            )
        if is_backbone:
            encoders[name] = load_backbone(
                what, device=device, dtype=dtype, num_threads=num_threads, offline=offline
            )
        else:
            folder = find_model(what, offline=offline)
            encoders[name] = load_encoder(folder / "encoder", num_threads=num_threads)
    return encoders


def _split(text: str) -> tuple[str, str]:
    name, equals, what = text.partition("=")
    return (name, what) if equals and name.replace("_", "").isalnum() else ("image", text)
