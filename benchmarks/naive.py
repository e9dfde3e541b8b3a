"""Decoding as plainly as it can be written: no cache, every hypothesis on its own. The oracle of decode.py.

Owns the slow loops; must not use the decoders or the caches of geotoken.

What is done again for each token of each sample (or beam): the whole decoder over the whole prefix, with the
projections of the encoded evidence to keys and values that a decoder layer of PyTorch computes at every call.
What is not: the photos of a batch stay together, and the encoder runs once. Code that draws samples one
`generate` at a time repeats at least this, and often the encoder too, so the loop is a fair yardstick.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from geotoken.evidence import Evidence
from geotoken.model import collate
from geotoken.model.network import GeoTokenModel


class NaiveDecoder:
    """The evidence of B photos, encoded once, and the loops over it."""

    @torch.inference_mode()
    def __init__(self, network: GeoTokenModel, evidence: Sequence[Evidence]) -> None:
        self.network = network.eval()
        batch = collate(evidence, network.config)
        self.arrays = {name: torch.from_numpy(array) for name, array in batch.arrays().items()}
        self.encoded, self.mask = network.read(self.arrays, complete=batch.complete)
        self.num_photos = batch.num_photos

    @torch.inference_mode()
    def next_log_probs(self, prefix: np.ndarray) -> np.ndarray:
        """Score the next token of one hypothesis a photo, shape (B, t) to (B, V), without remembering."""
        memory = self.network.remember(self.encoded, self.mask)
        tokens = np.concatenate([prefix, np.zeros((self.num_photos, 1), np.int64)], axis=1)
        log_probs = self.network.decode(torch.from_numpy(tokens), memory, self.arrays)
        return log_probs[:, -1].double().numpy()

    def sample(self, num_samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Draw samples one after the other: tokens, shape (B, N, T), and log-probabilities, shape (B, N)."""
        random = np.random.default_rng(seed)
        return self._run(num_samples, lambda p: (p.cumsum(1) < random.random((len(p), 1))).sum(1))

    def greedy(self) -> tuple[np.ndarray, np.ndarray]:
        """Take the likeliest token each time: tokens, shape (B, 1, T); log-probabilities, shape (B, 1)."""
        return self._run(1, lambda p: p.argmax(1))

    def beam(self, beam_width: int) -> tuple[np.ndarray, np.ndarray]:
        """Keep the likeliest hypotheses: tokens, shape (B, W, T), and log-probabilities, shape (B, W)."""
        tokens = np.empty((self.num_photos, 1, 0), np.int64)
        totals = np.zeros((self.num_photos, 1))
        for _ in range(self.network.config.scheme.length):
            each = [self.next_log_probs(tokens[:, w]) for w in range(tokens.shape[1])]
            scores = totals[..., None] + np.stack(each, axis=1)  # (B, W, V)
            flat = scores.reshape(self.num_photos, -1)
            width = min(beam_width, int(np.isfinite(flat).sum(axis=1).min()))
            best = np.argsort(-flat, axis=1, kind="stable")[:, :width]
            rows, last = np.divmod(best, scores.shape[2])
            tokens = np.concatenate([np.take_along_axis(tokens, rows[..., None], 1), last[..., None]], axis=2)
            totals = np.take_along_axis(flat, best, axis=1)
        return tokens, totals

    def _run(
        self, num_samples: int, choose: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        tokens, totals = [], []
        for _ in range(num_samples):
            prefix = np.empty((self.num_photos, 0), np.int64)
            total = np.zeros(self.num_photos)
            for _ in range(self.network.config.scheme.length):
                log_probs = self.next_log_probs(prefix)
                chosen = np.minimum(choose(np.exp(log_probs)), log_probs.shape[1] - 1)
                total += log_probs[np.arange(self.num_photos), chosen]
                prefix = np.concatenate([prefix, chosen[:, None]], axis=1)
            tokens.append(prefix)
            totals.append(total)
        return np.stack(tokens, axis=1), np.stack(totals, axis=1)
