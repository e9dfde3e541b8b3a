"""Sampling: many draws a photo at once, whose shared prefixes share the work.

Owns the filters of the sampling distribution and `Sampler`; must not know the model or what the tokens mean.
"""

from dataclasses import replace

import numpy as np

from geotoken.decoding.search import Floats, Hypotheses, Ints, merge


class TokenFilter:
    """Turn log-probabilities into the distribution that is sampled from.

    The order is temperature, then top-k, then top-p, each on what the one before left, renormalised. Of
    equally likely tokens the smaller one is kept first.
    """

    def __init__(
        self, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
    ) -> None:
        self._temperature = temperature
        self._top_k = top_k
        self._top_p = top_p

    def __call__(self, log_probs: Floats) -> Floats:
        """Filter the distribution of each row.

        Args:
            log_probs: Log-probabilities in nats, shape (R, V); each row has a possible token.

        Returns:
            Probabilities, shape (R, V); each row sums to 1 and an impossible token keeps probability 0.
        """
        with np.errstate(over="ignore"):  # a temperature near 0 leaves the likeliest token alone
            weights = np.exp((log_probs - log_probs.max(axis=1, keepdims=True)) / self._temperature)
        if self._top_k is not None or self._top_p is not None:
            order = np.argsort(-weights, axis=1, kind="stable")
            ranked = np.take_along_axis(weights, order, axis=1)
            if self._top_k is not None:
                ranked[:, self._top_k :] = 0.0
            if self._top_p is not None:
                reached = np.cumsum(ranked, axis=1)
                ranked[:, 1:][reached[:, :-1] >= self._top_p * reached[:, -1:]] = 0.0
            np.put_along_axis(weights, order, ranked, axis=1)
        probabilities: Floats = weights / weights.sum(axis=1, keepdims=True)
        return probabilities


class Sampler:
    """Draw `num_samples` token sequences for each photo.

    A live row is a distinct prefix, however many samples share it: with N samples a step scores at most N
    rows a photo, and one while they agree. Every photo draws from a generator of its own, all seeded alike:
    the samples of a photo do not depend on the photos beside it, and two photos of one call are compared
    under the same random numbers.
    """

    def __init__(self, num_samples: int, token_filter: TokenFilter, seed: int = 0) -> None:
        self._num_samples = num_samples
        self._filter = token_filter
        self._seed = seed
        self.reset(0)

    def reset(self, num_photos: int) -> None:
        """Start afresh with one empty hypothesis a photo."""
        self._num_photos = num_photos
        self._random = np.random.default_rng(self._seed)
        self._live = Hypotheses.empty(num_photos)
        self._row = np.repeat(np.arange(num_photos), self._num_samples)  # live row of each sample, (B * N,)

    def update(self, log_probs: Floats) -> tuple[Ints, Ints]:
        """Draw the next token of every sample.

        Args:
            log_probs: Log-probabilities in nats of the next token of every live row, shape (R, V).

        Returns:
            For each row of the next step: the row it continues and the token it appends, both shape (R',).
        """
        cumulative = np.cumsum(self._filter(log_probs), axis=1)
        cumulative /= cumulative[:, -1:]
        # The generators of all photos are in the same state: one draw stands for each of them.
        uniform = np.tile(self._random.random(self._num_samples), self._num_photos)  # (B * N,)
        drawn = (cumulative[self._row] <= uniform[:, None]).sum(axis=1)
        rows, tokens, self._row = merge(self._row, drawn, log_probs.shape[1])
        self._live = self._live.extend(rows, tokens, log_probs)
        return rows, tokens

    def finalize(self) -> list[Hypotheses]:
        """The distinct samples of each photo with their untempered log-probabilities, likeliest first."""
        counts = np.bincount(self._row, minlength=len(self._live.photo))
        return replace(self._live, num_samples=counts).split(self._num_photos)
