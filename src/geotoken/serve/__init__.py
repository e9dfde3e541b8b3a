"""The model behind an HTTP API and a page with a map, on this machine.

Owns requests, replies, limits and worker processes; must not be imported by anything the base install runs.
"""

from importlib.util import find_spec

from geotoken.errors import DependencyError

if any(find_spec(name) is None for name in ("fastapi", "uvicorn", "python_multipart")):
    raise DependencyError(
        "geotoken serve needs FastAPI and uvicorn, which are not all installed; pip install 'geotoken[serve]'"
    )
