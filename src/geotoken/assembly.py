"""Models put together on this machine from parts that others publish: GeoCLIP, as the model `geoclip`.

Owns the recipe, its unfitted defaults and the card; must not know how the parts work.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.artifact import (
    ALIGNMENT,
    CARD_NAME,
    GEOCLIP,
    KIND,
    Artifact,
    assembled_folder,
    bundled_models,
    load_artifact,
    save_artifact,
)
from geotoken.backbones.catalog import BACKBONES, PREPROCESSING_NAME
from geotoken.backbones.geoclip_package import REQUIREMENT, geoclip_package, read_points
from geotoken.backbones.load import find_backbone
from geotoken.errors import ArtifactError, InputError
from geotoken.files import replacing_folder
from geotoken.gallery.table import GalleryTable
from geotoken.gallery.write import write_gallery
from geotoken.manifest import read_manifest
from geotoken.mixture import MixtureConfig, MixtureModel, NeighborTrust
from geotoken.tokens import TokenScheme

if TYPE_CHECKING:
    from geotoken.backbones.network import GeoClip

SCALE_SHARES: Final = (0.005, 0.02, 0.1, 0.3, 0.25, 0.2, 0.125)
"""How a neighbor's mass is spread over the scales of `mini`, 0.1 to 1500 km. Chosen by hand, not fitted: the
neighbor is a point of a gallery of 100,000, so the photo is rarely nearer to it than some km."""

PRIOR_SHARE: Final = 0.05
"""Mass of the world prior beside 1 for the best neighbor. Chosen by hand, not fitted."""

NUM_NEIGHBORS: Final = 50
"""Places of the gallery used for each photo."""

_BATCH = 2000
_CARD: Final = """# geoclip

GeoCLIP (V. Vivanco Cepeda, G. K. Nayak, M. Shah, NeurIPS 2023) as a geotoken model, assembled on this
machine. A photo's vector is compared with the vectors of {num_points:,} places; the nearest are evidence for
the probability of every S2 cell.

| part | from | licence |
| --- | --- | --- |
| image encoder | {backbone} | {backbone_license} |
| its head, the location encoder, the places | PyPI {requirement} | MIT, Copyright (c) 2024 Vicente Vivanco |
| world prior, trust in guesses | the bundled model `mini` | see its card |

Nothing of the first two is shipped with geotoken; the licences of the parts hold for whoever assembles this
model or passes it on.

**Not measured.** The weight of a neighbor is GeoCLIP's own: the softmax of its similarities times
{logit_scale:.2f}. How that mass is spread over distances ({shares}, for scales
of 0.1 to 1500 km), the share of the world prior ({prior:g} beside 1 for the best neighbor) and the trust in
guesses (from `mini`) are defaults chosen by hand. So probabilities and radii are not calibrated, and the
accuracy with geotoken's decoders and selectors was not measured. The places are drawn like the training set
of GeoCLIP, where photos are uploaded; benchmark photos may be among them.
"""


def pull_geoclip(
    out: str | Path | None = None,
    *,
    backbone: str | Path = "clip",
    heads: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Artifact:
    """Fetch and assemble the model `geoclip`; what is there and undamaged stays.

    Args:
        out: The folder to make; in the hub's assets cache, where the name `geoclip` finds it, when None.
        backbone: CLIP ViT-L/14, as `geotoken.backbones.load_backbone` takes it.
        heads: Wheel of the package `geoclip` or the folder it was unpacked to; installed or downloaded by pip
            when None.
        progress: Called with (places done, places in all).

    Returns:
        The verified model.

    Raises:
        ArtifactError: A part cannot be fetched, is damaged or does not fit, or the model cannot be written.
        DependencyError: The extra `backbones` is not installed.
        InputError: `out` exists, or `heads` is not that package.
    """
    from geotoken.backbones.network import load_geoclip  # before anything is downloaded in vain

    folder = assembled_folder(GEOCLIP) if out is None else Path(out)
    if out is None and folder.is_dir():
        try:
            return load_artifact(folder)
        except ArtifactError:
            pass  # damaged: made again
    elif out is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists; choose another folder (--out), or remove it")
    clip = find_backbone(backbone)
    with geoclip_package(heads) as package:
        parts, points = load_geoclip(package), read_points(package)
        _assemble(folder, clip, parts, points, progress)
    return load_artifact(folder)


def neighbor_trust(logit_scale: float) -> NeighborTrust:
    """GeoCLIP's softmax as the weights of neighbors, relative to the best one.

    Args:
        logit_scale: What it multiplies similarities with.

    Returns:
        Weights for the scales of the bundled model; only `logit_scale` was ever fitted, by GeoCLIP's authors.
    """
    zeros = (0.0,) * len(SCALE_SHARES)
    return NeighborTrust(
        bias=tuple(float(value) for value in np.log(SCALE_SHARES)),
        rank_slope=zeros,
        agreement_slope=(zeros,) * len(zeros),
        similarity_slope=(logit_scale,) * len(zeros),
        best_similarity_slope=(-logit_scale,) * len(zeros),
        prior_bias=float(np.log(PRIOR_SHARE)),
        num_neighbors=NUM_NEIGHBORS,
    )


def _assemble(
    folder: Path,
    clip: Path,
    parts: "GeoClip",
    points: NDArray[np.float64],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write the model, whole or not at all.

    Raises:
        ArtifactError: It cannot be written, or something else is in its place.
    """
    try:
        with replacing_folder(folder) as new:
            encoder_name, source, license_name = _write_encoder(new / "encoder", clip, parts)
            write_gallery(
                new / "gallery",
                _pieces(parts, points, progress),
                encoder_name=encoder_name,
                dim=parts.location_encoder.dim,
            )
            _write_mixture(new / "mixture", parts.logit_scale)
            _write_alignment(new / ALIGNMENT, parts, encoder_name)
            card = _CARD.format(
                num_points=len(points),
                backbone=source,
                backbone_license=license_name,
                requirement=REQUIREMENT,
                logit_scale=parts.logit_scale,
                shares=", ".join(f"{share:g}" for share in SCALE_SHARES),
                prior=PRIOR_SHARE,
            )
            (new / CARD_NAME).write_text(card, encoding="utf-8")
            save_artifact(new, name=GEOCLIP, scheme=TokenScheme(), head="mixture")
            if folder.is_dir() and any(folder.iterdir()):
                read_manifest(folder, KIND)  # nothing else is ever replaced
    except OSError as error:
        raise ArtifactError(
            f"model {folder} cannot be written ({error.strerror or error}); check space and permissions"
        ) from error


def _write_encoder(folder: Path, clip: Path, parts: "GeoClip") -> tuple[str, str, str]:
    """Write the image half of CLIP and GeoCLIP's head; returns the encoder's name, source and licence.

    Raises:
        ArtifactError: The backbone is not CLIP ViT-L/14.
    """
    import torch

    from geotoken.backbones.network import write_encoder
    from geotoken.backbones.network.encoder import HEAD_NAME
    from geotoken.backbones.network.tower import Tower
    from geotoken.hub import origin

    tower = Tower.load(clip, device=torch.device("cpu"), dtype=torch.float32)
    needed = parts.image_head.widths[0]
    if tower.dim != needed:
        raise ArtifactError(
            f"{clip} gives vectors of {tower.dim} numbers, but GeoCLIP's head takes the {needed} of CLIP "
            f"ViT-L/14; take {BACKBONES['clip'].repo_id} (--backbone clip)"
        )
    folder.mkdir()
    tower.save(folder)
    shutil.copyfile(clip / PREPROCESSING_NAME, folder / PREPROCESSING_NAME)
    parts.image_head.save(folder / HEAD_NAME)
    hub_id = origin(clip)
    named = str(hub_id) if hub_id else f"the local folder {clip.resolve().name}"
    source = f"{named} (image half), with the head of PyPI {REQUIREMENT}"
    known = {one.repo_id: one.license for one in BACKBONES.values()}
    license_name = known.get(hub_id.repo_id if hub_id else "", "see the backbone")
    written = write_encoder(folder, source=source, license_name=f"{license_name}; MIT", label=GEOCLIP)
    return written.name, named, license_name


def _pieces(
    parts: "GeoClip", points: NDArray[np.float64], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[NDArray[np.float32], GalleryTable]]:
    import torch
    from torch.nn.functional import normalize

    for start in range(0, len(points), _BATCH):
        places = points[start : start + _BATCH]
        with torch.inference_mode():
            vectors = normalize(parts.location_encoder(torch.from_numpy(places).float()), dim=1).numpy()
        rows = [
            {
                "id": f"place-{start + row:06}",
                "lat": lat,
                "lng": lng,
                "license": "MIT",
                "attribution": REQUIREMENT,
            }
            for row, (lat, lng) in enumerate(places)
        ]
        yield vectors, GalleryTable.from_rows(rows)
        if progress is not None:
            progress(start + len(places), len(points))


def _write_alignment(folder: Path, parts: "GeoClip", encoder_name: str) -> None:
    """GeoCLIP's location encoder; the photos' vectors have been through its image head already."""
    import torch

    from geotoken.alignment import AlignmentConfig
    from geotoken.alignment.network import AlignmentNetwork, save_alignment

    encoder = parts.location_encoder
    network = AlignmentNetwork(
        AlignmentConfig(
            image_encoder=encoder_name,
            image_dim=encoder.dim,
            dim=encoder.dim,
            hidden=None,
            text="none",
            **encoder.shape,
        )
    )
    network.location_encoder.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        network.log_scales["location"].fill_(float(np.log(parts.logit_scale)))
    save_alignment(network, folder)


def _write_mixture(folder: Path, logit_scale: float) -> None:
    """The mixture of `mini` with other trust in neighbors."""
    bundled = bundled_models()["mini"] / "mixture"
    mini = MixtureModel.load(bundled)
    config: MixtureConfig = dataclasses.replace(mini.config, with_similarity=neighbor_trust(logit_scale))
    folder.mkdir()
    MixtureModel(config, mini.prior, ranked=mini.ranked).save(folder)
