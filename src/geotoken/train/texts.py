"""Vectors of texts by a frozen text encoder in the hub's format, such as CLIP's.

Owns finding and running it; must not know what the texts say.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken import hub
from geotoken.errors import ArtifactError, DependencyError, InputError, reason_of

FILE_PATTERNS: Final = (
    "config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
)
"""The files of a repository that are fetched."""

_TOGETHER: Final = 256
_NETWORKS: Final = {
    "clip": "CLIPTextModelWithProjection",
    "clip_text_model": "CLIPTextModelWithProjection",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
}


def encode_texts(
    encoder: str | Path,
    texts: Sequence[str],
    *,
    offline: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Encode texts.

    Args:
        encoder: A folder in the hub's format, or "owner/name[@revision]" on the hub: CLIP or SigLIP, whole or
            the half for text.
        texts: U texts.
        offline: Whether nothing may be downloaded.
        progress: Called with (texts done, texts in all).

    Returns:
        Vectors, shape (U, D), of any length.

    Raises:
        ArtifactError: It is not there, cannot be fetched or loaded, or is no such text encoder.
        DependencyError: The extra `backbones` is not installed.
        InputError: It is neither a folder nor an id.
    """
    if find_spec("transformers") is None:
        raise DependencyError(
            "a text encoder of the hub needs transformers, which is not installed; "
            "pip install 'geotoken[backbones]'"
        )
    import torch

    folder = _find(encoder, offline)
    tokenizer, network = _load(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    found = []
    for start in range(0, len(texts), _TOGETHER):
        part = list(texts[start : start + _TOGETHER])
        longest = network.config.max_position_embeddings
        given = tokenizer(
            part, padding="max_length", truncation=True, max_length=longest, return_tensors="pt"
        )
        accepted = {name: given[name].to(device) for name in ("input_ids", "attention_mask") if name in given}
        with torch.inference_mode():
            answer = network(**accepted)
        vectors = answer.text_embeds if hasattr(answer, "text_embeds") else answer.pooler_output
        found.append(vectors.float().cpu().numpy())
        if progress is not None:
            progress(start + len(part), len(texts))
    return np.concatenate(found)


def _find(encoder: str | Path, offline: bool) -> Path:
    """The folder of a text encoder.

    Raises:
        InputError: It is neither a folder nor an id.
    """
    if Path(encoder).is_dir():
        return Path(encoder)
    hub_id = hub.parse_id(str(encoder))
    if hub_id is None:
        raise InputError(
            f"there is no text encoder {str(encoder)!r}: it is neither a folder nor owner/name on the hub; "
            "give one of those (--text-encoder)"
        )
    return hub.download_files(hub_id, FILE_PATTERNS, is_whole=_is_whole, offline=offline)


def _is_whole(folder: Path) -> bool:
    return any(folder.glob("tokenizer*")) and any(folder.glob("model*.safetensors"))


def _load(folder: Path) -> tuple[Any, Any]:
    """Its tokenizer and its network, for inference.

    Raises:
        ArtifactError: It is not whole, or something else.
    """
    import transformers  # here and not above: it takes seconds

    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        name = _NETWORKS.get(config.model_type)
        if name is None:
            raise ArtifactError(
                f"{folder} is a {config.model_type} model; the text encoders run here are CLIP and SigLIP"
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        network, report = getattr(transformers, name).from_pretrained(
            folder,
            config=getattr(config, "text_config", config),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except ArtifactError:
        raise
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        reason = reason_of(error)[:200]
        raise ArtifactError(
            f"{folder} cannot be loaded as a text encoder ({reason}); fetch it again"
        ) from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise ArtifactError(
            f"{folder} lacks {len(absent)} weights of its text encoder, the first {absent[0]}; fetch it again"
        )
    return tokenizer, network.eval().requires_grad_(False)
