"""Stage 3: the transformer learns to write the place of a photo as tokens, given evidence.

Owns the loss, the split by owner and the validation; must not know where cases come from.
Dimension letters: B photos, T tokens, V vocabulary.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from geotoken import cells
from geotoken.errors import ConfigError, InputError
from geotoken.metrics import accuracy, distance_to_truth_km
from geotoken.model.batch import EvidenceBatch, Singles
from geotoken.model.config import ModelConfig
from geotoken.model.network import GeoTokenModel
from geotoken.prior import WorldPrior
from geotoken.train.cases import Cases, Floats, Ints
from geotoken.train.config import check_least
from geotoken.train.draws import Draws
from geotoken.train.dropout import DropoutConfig, drop_evidence
from geotoken.train.splits import Bools, owner_hash
from geotoken.train.targets import position_weights, soft_targets

VALIDATED_TOGETHER: Final = 256
"""Photos in one batch of a validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """What stage 3 asks of the network.

    Raises:
        ConfigError: A field is out of its range; the message names it.
    """

    first_weight: float = 2.0
    """Weight of the first token in the loss; those between first and last lie on a line."""
    last_weight: float = 1.0
    """Weight of the last token in the loss."""
    smoothing: float = 0.0
    """Share of the target that is spread over the cells around the true one, in [0, 1)."""
    smoothing_width: float = 0.25
    """Scale of that spread, in edges of a cell of the level."""
    validation_share: float = 0.02
    """Share of owners whose photos are not trained on, in (0, 1)."""
    validation_rows: int = 4096
    """Photos of a validation at most, >= 1."""
    greedy_rows: int = 1024
    """Photos of a validation that are located, by greedy decoding, for the accuracies; 0: none."""

    def __post_init__(self) -> None:
        if not (self.first_weight > 0 and self.last_weight > 0):
            raise ConfigError(
                f"first_weight and last_weight are {self.first_weight} and {self.last_weight}; "
                "give more than 0"
            )
        if not (0 <= self.smoothing < 1 and self.smoothing_width > 0):
            raise ConfigError(
                f"smoothing is {self.smoothing} with smoothing_width {self.smoothing_width}; "
                "give 0 to less than 1, and a width of more than 0"
            )
        if not 0 < self.validation_share < 1:
            raise ConfigError(f"validation_share is {self.validation_share}; give more than 0, less than 1")
        check_least(self, validation_rows=1, greedy_rows=0)


class DecoderStage:
    """Stage 3 for the training loop."""

    name = "decoder"

    def __init__(
        self,
        network: GeoTokenModel,
        cases: Cases,
        config: DecoderConfig,
        dropout: DropoutConfig,
        *,
        held_out: Bools | None = None,
    ) -> None:
        """Split the cases.

        Args:
            network: The network, as it is to begin with.
            cases: Photos and evidence, for the network's configuration.
            config: Loss and validation.
            dropout: What evidence is taken away in training.
            held_out: Whether each case is for validation, shape (N,); `config.validation_share` of the owners
                when None.

        Raises:
            InputError: No photo is left to train on, or to validate with.
        """
        self.module: nn.Module = network
        self.cases = cases
        self.config = config
        self.dropout = dropout
        self.scheme = network.config.scheme
        if held_out is None:
            held_out = owner_hash(cases.owner) < config.validation_share
        self.train_rows = np.flatnonzero(~held_out)
        self.validation_rows = np.flatnonzero(held_out)[: config.validation_rows]
        if not len(self.train_rows) or not len(self.validation_rows):
            raise InputError(
                f"of {len(held_out)} photos {int(held_out.sum())} are for validation; both parts need one: "
                f"set validation_share, now {config.validation_share:g}, in [decoder] of a --config file, "
                "or give photos of more owners, or some the split val"
            )
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._ready: dict[int, tuple[Draws, Future[_Prepared]]] = {}
        self._weights = torch.from_numpy(
            position_weights(self.scheme.length, config.first_weight, config.last_weight)
        )

    @property
    def num_rows(self) -> int:
        """Training rows."""
        return len(self.train_rows)

    def announce(self, rows: Ints, rng: Draws) -> None:
        """Begin to prepare rows in the background.

        Args:
            rows: Numbers of training rows, shape (B,), for which `loss` will be called with the same `rng`.
            rng: Randomness of these positions of the batch.
        """
        self._ready[id(rng)] = (rng, self._worker.submit(self._prepare, rows, rng))

    def loss(self, module: nn.Module, rows: Ints, rng: Draws) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Cross-entropy of the tokens of B photos, weighted by position.

        Args:
            module: The network.
            rows: Numbers of training rows, shape (B,).
            rng: Randomness of these positions of the batch.

        Returns:
            The loss, shape (), and `nll`: nats of the true leaf, without weights and smoothing.
        """
        announced = self._ready.pop(id(rng), None)
        prepared = self._prepare(rows, rng) if announced is None else announced[1].result()
        device = next(module.parameters()).device
        tokens = torch.from_numpy(prepared.tokens).to(device)
        arrays = to_tensors(prepared.batch, device)
        log_probs = module(arrays, tokens, complete=prepared.batch.complete)  # (B, T, V)
        spread = cross_entropy(log_probs, torch.from_numpy(prepared.targets).to(device))  # (B, T)
        loss = (spread * self._weights.to(device)).mean()
        return loss, {"nll": true_log_probs(log_probs.detach(), tokens).sum(dim=1).neg().mean()}

    def _prepare(self, rows: Ints, rng: Draws) -> "_Prepared":
        """Evidence, tokens and targets of some rows."""
        cases = self.train_rows[rows]
        batch = drop_evidence(self.cases.evidence(cases, rng), self.dropout, rng)
        lat, lng = self.cases.lat[cases], self.cases.lng[cases]
        mix, width = self.config.smoothing, self.config.smoothing_width
        targets = soft_targets(lat, lng, self.scheme, mix=mix, width=width)
        return _Prepared(batch, self.scheme.encode(lat, lng), targets)

    @torch.no_grad()
    def validate(self, module: nn.Module) -> dict[str, float]:
        """Judge the network on the photos of held-out owners, with all their evidence.

        Args:
            module: The network.

        Returns:
            `loss`: nats of the true leaf; `nll_km2`: nats, minus log density per km2 at the truth; and of
            greedy answers acc_at_1km to acc_at_2500km in percent and median_error_km.
        """
        assert isinstance(module, GeoTokenModel)
        device = next(module.parameters()).device
        nll: list[Tensor] = []
        answers: list[Ints] = []
        for start in range(0, len(self.validation_rows), VALIDATED_TOGETHER):
            rows = self.validation_rows[start : start + VALIDATED_TOGETHER]
            batch = self.cases.evidence(rows, None)
            arrays = to_tensors(batch, device)
            tokens = torch.from_numpy(self.scheme.encode(self.cases.lat[rows], self.cases.lng[rows]))
            log_probs = module(arrays, tokens.to(device), complete=batch.complete)
            nll.append(true_log_probs(log_probs, tokens.to(device)).sum(dim=1).neg().double().cpu())
            located = min(len(rows), self.config.greedy_rows - start)
            if located > 0:
                answers.append(greedy(module, arrays, complete=batch.complete)[:located])
        return self._judge(torch.cat(nll).numpy(), answers)

    def _judge(self, nll: Floats, answers: list[Ints]) -> dict[str, float]:
        """Figures of a validation."""
        rows = self.validation_rows
        leaves = cells.from_lat_lng(self.cases.lat[rows], self.cases.lng[rows], self.scheme.level)
        figures = {"loss": float(nll.mean()), "nll_km2": float((nll + np.log(cells.area_km2(leaves))).mean())}
        if answers:
            lat, lng = self.scheme.decode(np.concatenate(answers))
            located = rows[: len(lat)]
            truth = self.cases.lat[located], self.cases.lng[located]
            figures |= accuracy(distance_to_truth_km(lat, lng, *truth))
        return figures


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the loss of B rows needs beside the network."""

    batch: EvidenceBatch
    tokens: Ints
    targets: Singles


def new_network(config: ModelConfig, lat: Floats, lng: Floats) -> GeoTokenModel:
    """A network with random weights.

    Args:
        config: Its shape and switches.
        lat: Latitude in degrees of photos that it may know, shape (N,): their places make the world prior, if
            the configuration asks for one.
        lng: Their longitude in degrees, shape (N,).

    Returns:
        The network.
    """
    if not config.world_prior:
        return GeoTokenModel(config)
    return GeoTokenModel(config, WorldPrior.from_points(lat, lng))


def to_tensors(batch: EvidenceBatch, device: torch.device) -> dict[str, Tensor]:
    """The arrays of a batch as tensors.

    Args:
        batch: Evidence of B photos.
        device: Where they shall be.

    Returns:
        The arrays by name.
    """
    return {name: torch.from_numpy(array).to(device) for name, array in batch.arrays().items()}


def cross_entropy(log_probs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each position, for log-probabilities that may be minus infinity where no target is.

    Args:
        log_probs: Log-probabilities, shape (B, T, V).
        targets: Probabilities, shape (B, T, V).

    Returns:
        Nats, shape (B, T).
    """
    return -(targets * log_probs.masked_fill(targets == 0, 0.0)).sum(dim=-1)


def true_log_probs(log_probs: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of each true token.

    Args:
        log_probs: Log-probabilities, shape (B, T, V).
        tokens: True tokens, shape (B, T).

    Returns:
        Nats, shape (B, T).
    """
    return log_probs.gather(-1, tokens[..., None])[..., 0]


def greedy(network: GeoTokenModel, arrays: dict[str, Tensor], *, complete: bool = False) -> Ints:
    """The likeliest next token, again and again; simple, and quick enough for validation.

    Args:
        network: The network.
        arrays: The arrays of an `EvidenceBatch` as tensors.
        complete: Whether the batch is complete.

    Returns:
        Tokens, shape (B, T).
    """
    memory = network.encode(arrays, complete=complete)
    num_photos = len(arrays["item_mask"])
    length = network.config.scheme.length
    tokens = torch.zeros((num_photos, length), dtype=torch.int64, device=arrays["item_mask"].device)
    for position in range(length):
        log_probs = network.decode(tokens[:, : position + 1], memory, arrays)
        tokens[:, position] = log_probs[:, position].argmax(dim=-1)
    return tokens.cpu().numpy()
