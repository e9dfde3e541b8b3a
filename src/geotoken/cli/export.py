"""`geotoken export`: a trained transformer as the graphs that the base install runs.

Owns its flags and its line; must not know how graphs are made or compared.
"""

from pathlib import Path
from typing import Annotated

import typer

from geotoken.cli.errors import exit_codes
from geotoken.cli.options import Debug, Json


def export(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL_FOLDER",
            help="A model folder with a transformer, or a folder with model.json and model.safetensors.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Where the graphs go.", show_default="beside the weights"
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a transformer as ONNX graphs, after proving that they compute what PyTorch does.

    Makes encoder.onnx and decoder_step.onnx, with model.json beside them. Graphs that differ from PyTorch by
    more than 0.0001 nats are refused. Needs the extra `train`.
    """
    with exit_codes(debug):
        from geotoken import words
        from geotoken.artifact import export_transformer
        from geotoken.cli.terminal import print_json

        target, difference = export_transformer(folder, out)
        if json:
            print_json({"folder": str(target), "max_difference": difference, "verified": True})
        else:
            print(words.printable(f"graphs in {target}, at most {difference:.1e} nats from PyTorch"))
