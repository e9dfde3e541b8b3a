"""geotoken: where on Earth was this photo taken?

Owns the public names; everything is imported on first use, so that `import geotoken` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from geotoken.version import __version__

if TYPE_CHECKING:
    from geotoken import cells, tokens
    from geotoken.artifact import pull_from_hub, push_to_hub
    from geotoken.decoding import DecodingOptions
    from geotoken.errors import (
        ArtifactError,
        ConfigError,
        DependencyError,
        GeoTokenError,
        ImageError,
        InputError,
    )
    from geotoken.gallery import Exclusion, Gallery, build_gallery
    from geotoken.pipeline import Failure, LocateOptions, Locator
    from geotoken.prediction import Prediction
    from geotoken.regions import Region
    from geotoken.tokens import TokenScheme

_MODULE_OF = {
    "ArtifactError": "errors",
    "ConfigError": "errors",
    "DecodingOptions": "decoding",
    "DependencyError": "errors",
    "Exclusion": "gallery",
    "Failure": "pipeline",
    "Gallery": "gallery",
    "GeoTokenError": "errors",
    "ImageError": "errors",
    "InputError": "errors",
    "LocateOptions": "pipeline",
    "Locator": "pipeline",
    "Prediction": "prediction",
    "Region": "regions",
    "TokenScheme": "tokens",
    "build_gallery": "gallery",
    "pull_from_hub": "artifact",
    "push_to_hub": "artifact",
}

__all__ = [
    "ArtifactError",
    "ConfigError",
    "DecodingOptions",
    "DependencyError",
    "Exclusion",
    "Failure",
    "Gallery",
    "GeoTokenError",
    "ImageError",
    "InputError",
    "LocateOptions",
    "Locator",
    "Prediction",
    "Region",
    "TokenScheme",
    "__version__",
    "build_gallery",
    "cells",
    "pull_from_hub",
    "push_to_hub",
    "tokens",
]


def __getattr__(name: str) -> Any:
    if name in ("cells", "tokens"):
        return import_module(f"geotoken.{name}")
    if name in _MODULE_OF:
        return getattr(import_module(f"geotoken.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'geotoken' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
