"""Beam search, of which greedy decoding is the one of width 1.

Owns `BeamSearch`; must not know the model or what the tokens mean.
"""

import numpy as np

from geotoken.decoding.search import Floats, Hypotheses, Ints


class BeamSearch:
    """Keep the `beam_width` likeliest hypotheses of each photo at every step.

    Hypotheses are ranked by their exact log-probability: all have the same length, so there is nothing to
    normalise. Beams are ragged: a photo has fewer rows while fewer continuations are possible.
    """

    def __init__(self, beam_width: int) -> None:
        self._beam_width = beam_width
        self.reset(0)

    def reset(self, num_photos: int) -> None:
        """Start afresh with one empty hypothesis a photo."""
        self._num_photos = num_photos
        self._live = Hypotheses.empty(num_photos)

    def update(self, log_probs: Floats) -> tuple[Ints, Ints]:
        """Keep the likeliest continuations; of equal ones, those of the earlier row and smaller token.

        Args:
            log_probs: Log-probabilities in nats of the next token of every live row, shape (R, V).

        Returns:
            For each row of the next step: the row it continues and the token it appends, both shape (R',).
        """
        photo = self._live.photo
        vocabulary_size = log_probs.shape[1]
        first_row = np.searchsorted(photo, np.arange(self._num_photos))
        slot = np.arange(len(photo)) - first_row[photo]

        # One line a photo, padded to the widest beam with impossible continuations.
        table = np.full((self._num_photos, int(slot.max()) + 1, vocabulary_size), -np.inf)  # (B, W, V)
        table[photo, slot] = self._live.log_prob[:, None] + log_probs
        choices = table.reshape(self._num_photos, -1)  # (B, W * V)
        best = np.argsort(-choices, axis=1, kind="stable")[:, : self._beam_width]  # (B, W')
        best.sort(axis=1)  # rows stay in token order, so that neighbors in the cache stay neighbors
        line, rank = np.nonzero(np.take_along_axis(choices, best, axis=1) > -np.inf)
        slots, tokens = np.divmod(best[line, rank], vocabulary_size)
        rows = first_row[line] + slots

        self._live = self._live.extend(rows, tokens, log_probs)
        return rows, tokens

    def finalize(self) -> list[Hypotheses]:
        """The finished hypotheses of each photo, likeliest first."""
        return self._live.split(self._num_photos)
