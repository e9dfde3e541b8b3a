"""`geotoken tokens`: between points and token sequences.

Owns its flags and how sequences are typed and shown; must not know S2.
"""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geotoken.cli.errors import exit_codes
from geotoken.cli.options import Debug, GroupSize, Json, Level
from geotoken.errors import InputError

if TYPE_CHECKING:
    from geotoken.tokens import TokenScheme

app = typer.Typer(help="Points as token sequences, and back.", no_args_is_help=True)

_NUMBERS = {"ignore_unknown_options": True}  # or -33.9 would be taken for a flag


@app.command("encode", context_settings=_NUMBERS)
def encode(
    lat: Annotated[str, typer.Argument(metavar="LAT", help="Latitude in degrees, -90..90; or LAT,LNG.")],
    lng: Annotated[
        str | None, typer.Argument(metavar="[LNG]", help="Longitude in degrees, -180..180.")
    ] = None,
    level: Level = 20,
    group_size: GroupSize = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a point as tokens: the cube face, then a step down the cells each."""
    with exit_codes(debug):
        from geotoken.cli.terminal import print_json, stdout
        from geotoken.tokens import TokenScheme

        scheme = TokenScheme(level=level, group_size=group_size)
        point = parse_point(lat if lng is None else f"{lat} {lng}")
        tokens = scheme.encode(*point).tolist()
        steps = [
            {"token": tokens[position], **_cell(scheme, tokens[: position + 1])}
            for position in range(scheme.length)
        ]
        if json:
            leaf = {"hex": steps[-1]["cell_hex"], "level": level}
            print_json({"lat": point[0], "lng": point[1], "tokens": tokens, "cell": leaf, "levels": steps})
        else:
            print(*tokens)
            stdout().print(_steps_table(steps))


@app.command("decode")
def decode(
    tokens: Annotated[
        list[str],
        typer.Argument(
            metavar="TOKENS", help="A sequence or its beginning; between tokens a space or a comma."
        ),
    ],
    level: Level = 20,
    group_size: GroupSize = 2,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell which cell a token sequence, or the beginning of one, stands for."""
    with exit_codes(debug):
        from geotoken import words
        from geotoken.cli.terminal import print_facts, print_json
        from geotoken.tokens import TokenScheme

        sequence = parse_tokens(tokens)
        cell = _cell(TokenScheme(level=level, group_size=group_size), sequence)
        if json:
            print_json({"tokens": sequence, **cell})
            return
        print_facts(
            {
                "center": words.coordinates(cell["lat"], cell["lng"]),
                "cell": cell["cell_hex"],
                "level": str(cell["level"]),
                "size": f"about {words.distance(cell['size_km'])}",
            }
        )


def parse_point(text: str) -> tuple[float, float]:
    """Read a point as typed.

    Args:
        text: "LAT LNG" or "LAT,LNG".

    Returns:
        (lat, lng) in degrees, not yet checked for their range.

    Raises:
        InputError: If it is not two numbers.
    """
    try:
        lat, lng = (float(part) for part in re.split(r"\s*,\s*|\s+", text.strip()))
    except ValueError:
        raise InputError(
            f"the point is {text!r}; give LAT LNG or LAT,LNG in degrees, such as -33.9 18.4"
        ) from None
    return lat, lng


def parse_tokens(parts: list[str]) -> list[int]:
    """Read a token sequence as typed.

    Args:
        parts: Arguments, each with one or more whole numbers.

    Returns:
        The tokens in order.

    Raises:
        InputError: If something is not a whole number.
    """
    words = [word for part in parts for word in re.split(r"[\s,]+", part.strip("[] \t\n")) if word]
    bad = [word for word in words if not re.fullmatch(r"[0-9]{1,18}", word)]
    if bad or not words:
        what = f"{bad[0]!r} is no token" if bad else "there are no tokens"
        raise InputError(f"{what}; give whole numbers, such as 2 10 3, the cube face 0..5 first")
    return [int(word) for word in words]


def _cell(scheme: "TokenScheme", tokens: list[int]) -> dict[str, Any]:
    """The cell that tokens stand for, JSON-ready."""
    from geotoken import cells

    cell_id = scheme.to_cells(tokens)
    lat, lng = cells.to_lat_lng(cell_id)
    level = scheme.level_at(len(tokens))
    return {
        "level": level,
        "cell_hex": str(cells.to_hex(cell_id)),
        "lat": float(lat),
        "lng": float(lng),
        "size_km": float(cells.average_edge_km(level)),
    }


def _steps_table(steps: list[dict[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table

    from geotoken import words

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("token", "level", "cell", "size", "center"):
        table.add_column(name, justify="left" if name in ("cell", "center") else "right")
    for step in steps:
        table.add_row(
            str(step["token"]),
            str(step["level"]),
            step["cell_hex"],
            words.distance(step["size_km"]),
            words.coordinates(step["lat"], step["lng"]),
        )
    return table
