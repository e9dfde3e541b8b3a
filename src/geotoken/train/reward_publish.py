"""A trained reward model as a part of a model folder.

Owns its place there, its section of the card and the manifest; must not know how it was trained.
"""

from pathlib import Path
from typing import Final

from geotoken.artifact import CARD_NAME, FORMAT_VERSION, KIND, REWARD
from geotoken.errors import ArtifactError
from geotoken.files import replacing_folder, write_whole
from geotoken.manifest import verify_manifest, write_manifest
from geotoken.reward.network import RewardNetwork, export_reward
from geotoken.train.loop import Outcome
from geotoken.train.reward import RewardStage

_HEADING: Final = "## Reward model"
_CARD: Final = """{heading}

A network of {parameters:,} parameters in `reward/`, for `--select reward`. It was trained on candidates of
{num_train:,} photos of the feature store `{store}`, {decoded_by}, and validated with
{num_validation:,} of other owners. Mean share of the thresholds 1, 25, 200, 750 and 2500 km met there, in
percent, by the candidate chosen by

| reward | log_prob | expected utility under the posterior | who knows the truth |
| --- | --- | --- | --- |
| {reward:.1f} | {log_prob:.1f} | {posterior:.1f} | {best:.1f} |

Its step was chosen on the same photos, so the first figure is a little too good.
"""


def add_reward(folder: Path, network: RewardNetwork, *, card: str = "") -> float:
    """Put a reward model into a model folder, in place of an old one, and renew the manifest.

    Args:
        folder: A whole model folder.
        network: The trained network.
        card: What the model card shall say of it, Markdown.

    Returns:
        The largest difference of a probability between the graph and PyTorch.

    Raises:
        ArtifactError: If the folder is not a whole model or cannot be written, or graph and network differ.
    """
    verify_manifest(folder, KIND, FORMAT_VERSION)
    path = folder / CARD_NAME
    try:
        with replacing_folder(folder / REWARD) as new:
            difference = export_reward(network, new)
        if card:
            before, _, old = path.read_text(encoding="utf-8").partition(_HEADING)
            after = old.partition("\n## ")
            write_whole(path, f"{before.rstrip()}\n\n{card}{''.join(after[1:])}".encode())
        write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)
    except OSError as error:
        raise ArtifactError(
            f"cannot write to {folder} ({error.strerror or error}); check permissions"
        ) from error
    return difference


def describe_reward(stage: RewardStage, outcome: Outcome, *, store: str, num_folds: int = 0) -> str:
    """What the model card says of a reward model.

    Args:
        stage: The stage that was trained.
        outcome: How its training ended.
        store: Name of the feature store.
        num_folds: Folds whose decoders found the candidates; 0 if the model itself did.

    Returns:
        A section, Markdown.
    """
    decoded_by = "on which the model was not trained"
    if num_folds:
        decoded_by = f"in {num_folds} folds, each decoded by a decoder trained on the others"
    return _CARD.format(
        heading=_HEADING,
        parameters=sum(one.numel() for one in stage.module.parameters()),
        num_train=stage.num_rows,
        num_validation=len(stage.validation_rows),
        store=store,
        decoded_by=decoded_by,
        **{name: outcome.best[name] for name in ("reward", "log_prob", "posterior", "best")},
    )
