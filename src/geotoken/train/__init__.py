"""Training: the loop that every stage shares, the stages, and the configuration of both.

Owns everything that learns; must not be imported by anything the base install runs.
"""

from importlib.util import find_spec

from geotoken.errors import DependencyError

_missing = [name for name in ("torch", "safetensors", "lightning_fabric") if find_spec(name) is None]
if _missing:
    raise DependencyError(
        f"training needs what is not installed here ({', '.join(_missing)}); pip install 'geotoken[train]'"
    )
