"""GeoCLIP's trained parts in our own modules.

Owns the names of its weights; must not know how its files are found, or what is done with the modules.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from geotoken.alignment.network.head import ProjectionHead
from geotoken.alignment.network.location import LocationEncoder
from geotoken.backbones.geoclip_package import IMAGE_HEAD, LOCATION_ENCODER, LOGIT_SCALE, read_file

_LOCATION = re.compile(r"LocEnc(\d+)\.(?:capsule\.(\d+)|head\.0)\.(b|weight|bias)")
_IMAGE = re.compile(r"(\d+)\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class GeoClip:
    """What GeoCLIP learnt, without CLIP itself."""

    location_encoder: LocationEncoder
    """Places to vectors of 512 numbers."""
    image_head: ProjectionHead
    """CLIP ViT-L/14's projected vectors of 768 numbers to the same space."""
    logit_scale: float
    """What similarities are multiplied with before the softmax over places."""


def load_geoclip(package: Path) -> GeoClip:
    """Load GeoCLIP's weights.

    Args:
        package: As `geotoken.backbones.geoclip_package.geoclip_package` gives it.

    Returns:
        The modules, on the CPU, in float32, for inference.

    Raises:
        ArtifactError: A file is damaged.
        InputError: It is not that package.
    """
    location, image, scale = (
        torch.load(io.BytesIO(read_file(package, name)), map_location="cpu", weights_only=True)
        for name in (LOCATION_ENCODER, IMAGE_HEAD, LOGIT_SCALE)
    )
    return GeoClip(_location_encoder(location), _image_head(image), float(scale.exp()))


def _location_encoder(weights: dict[str, Tensor]) -> LocationEncoder:
    """One branch of GeoCLIP is b, then layers 1, 3, 5 of `capsule`, then `head`."""
    renamed = {}
    for name, value in weights.items():
        branch, layer, kind = _matched(_LOCATION, name)
        position = 7 if layer is None else int(layer)  # the head follows the last ReLU
        renamed[f"branches.{branch}.{position}.{'frequencies' if kind == 'b' else kind}"] = value
    first = [value for name, value in weights.items() if name.endswith(".b")]
    encoder = LocationEncoder(
        num_frequencies=len(first[0]),
        scales=[1.0] * len(first),
        width=len(weights["LocEnc0.capsule.1.bias"]),
        dim=len(weights["LocEnc0.head.0.bias"]),
    )
    encoder.load_state_dict(renamed)
    return encoder.eval()


def _image_head(weights: dict[str, Tensor]) -> ProjectionHead:
    renamed = {}
    for name, value in weights.items():
        layer, kind = _matched(_IMAGE, name)
        renamed[f"layers.{int(layer) // 2}.{kind}"] = value
    head = ProjectionHead([weights["0.weight"].shape[1], len(weights["0.bias"]), len(weights["2.bias"])])
    head.load_state_dict(renamed)
    return head.eval()


def _matched(pattern: re.Pattern[str], name: str) -> tuple[str, ...]:
    match = pattern.fullmatch(name)
    assert match is not None, f"GeoCLIP's weights have an unknown name {name}"  # the hash was checked
    return match.groups()
