"""The image half of a pretrained model, through transformers.

Owns which architectures are run and which of their outputs is the photo's vector; must not know photos.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from geotoken.errors import ArtifactError, reason_of


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one architecture is run."""

    model: str
    """Its class in transformers."""
    output: str
    """Attribute of its result that holds the photo's vector, shape (B, D)."""
    width: str
    """Entry of its configuration that holds D."""
    fixed_size: bool
    """Whether it takes photos of one size only."""


_KINDS: Final = {
    "clip": _Kind("CLIPVisionModelWithProjection", "image_embeds", "projection_dim", True),
    "siglip": _Kind("SiglipVisionModel", "pooler_output", "hidden_size", True),
    "dinov2": _Kind("Dinov2Model", "pooler_output", "hidden_size", False),
    "dinov3_vit": _Kind("DINOv3ViTModel", "pooler_output", "hidden_size", False),
}
"""By `model_type` of a whole model; the image half of CLIP and SigLIP alone has a `model_type` of its own."""

_ALONE: Final = {"clip_vision_model": "clip", "siglip_vision_model": "siglip"}


class Tower:
    """A frozen network from prepared photos to vectors; made by `Tower.load`."""

    def __init__(self, network: torch.nn.Module, config: Any, kind: _Kind) -> None:
        self._network = network
        self._config = config
        self._kind = kind
        self._parameter = next(network.parameters())

    @classmethod
    def load(cls, folder: Path, *, device: torch.device, dtype: torch.dtype) -> "Tower":
        """Load the image half of a model; no code from the folder is run.

        Args:
            folder: Folder in the hub's format, with weights as safetensors.
            device: Where it computes.
            dtype: What it computes in.

        Returns:
            The network, for inference.

        Raises:
            ArtifactError: The architecture is not known, or weights are missing or of another shape.
        """
        import transformers  # here and not above: it takes seconds

        try:
            with _quiet(transformers):
                config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            kind = _KINDS.get(_ALONE.get(config.model_type, config.model_type))
            if kind is None:
                known = ", ".join([*_KINDS, *_ALONE])
                raise ArtifactError(
                    f"{folder} is a {config.model_type} model; the image models run here are {known}"
                )
            vision = _vision_config(config)
            with _quiet(transformers):
                network, report = getattr(transformers, kind.model).from_pretrained(
                    folder,
                    config=vision,
                    local_files_only=True,
                    use_safetensors=True,
                    dtype=dtype,
                    output_loading_info=True,
                )
        except ArtifactError:
            raise
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            reason = reason_of(error)[:200]
            raise ArtifactError(f"{folder} cannot be loaded ({reason}); fetch it again") from error
        absent = sorted(report["missing_keys"])
        if absent:
            raise ArtifactError(
                f"{folder} lacks {len(absent)} weights of its image model, the first {absent[0]}; fetch it "
                "again"
            )
        network.eval().requires_grad_(False)
        return cls(network.to(device), vision, kind)

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        return int(getattr(self._config, self._kind.width))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._parameter.device

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuse a preprocessing that does not fit.

        Args:
            size: Height and width of prepared photos.

        Raises:
            ArtifactError: The network takes photos of another size.
        """
        side = self._config.image_size
        if self._kind.fixed_size and size != (side, side):
            raise ArtifactError(
                f"the backbone takes photos of {side} x {side} pixels, but its preprocessing gives {size[1]} "
                f"x {size[0]}; take both from the same place"
            )

    @property
    def dtype(self) -> str:
        """Name of the type it computes in, such as "float32"."""
        return str(self._parameter.dtype).removeprefix("torch.")

    def save(self, folder: Path) -> None:
        """Write the network alone, without the half for text, in the hub's format.

        Args:
            folder: An existing folder; gets `config.json` and `model.safetensors`.
        """
        import transformers

        with _quiet(transformers):
            self._network.save_pretrained(folder)  # type: ignore[operator]  # every model of transformers has it

    def __call__(self, views: Tensor) -> Tensor:
        """Embed prepared photos.

        Args:
            views: Standardised pixels, shape (B, 3, H, W), float32.

        Returns:
            Vectors, shape (B, D), not normalised, of the network's own type.
        """
        pixels = views.to(self.device, self._parameter.dtype)
        return getattr(self._network(pixel_values=pixels), self._kind.output)  # type: ignore[no-any-return]


def _vision_config(config: Any) -> Any:
    """The configuration of the image half; old files give the width of CLIP's projection only at the top."""
    vision = getattr(config, "vision_config", config)
    if vision is not config and getattr(config, "projection_dim", None):
        vision.projection_dim = config.projection_dim
    return vision


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep what transformers says about the other half's weights, and its bars, from the terminal."""
    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers.utils.logging.is_progress_bar_enabled()
    logger.setLevel(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
