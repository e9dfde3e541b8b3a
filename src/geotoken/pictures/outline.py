"""The outline of the world that maps are drawn on.

Owns access to the bundled file; must not know pages.

The file is made by tools/build_outline.py from Natural Earth (public domain); its form is told there.
"""

from functools import cache
from importlib.resources import files

from geotoken.errors import ArtifactError


@cache
def outline_json() -> str:
    """Coasts, borders and names of countries, for any page that draws a map.

    Returns:
        A JSON object with `land`, `borders`, `countries` and `steps_per_degree`; 130 kB. It contains no
        `<`, so it may stand in a script element as it is.

    Raises:
        ArtifactError: If the bundled file is missing.
    """
    try:
        return (files("geotoken") / "data" / "outline.json").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ArtifactError(f"the world outline cannot be read ({error}); install geotoken again") from error
