"""The reward model on ONNX Runtime, without PyTorch.

Owns the session and what is read off it; must not know how the graph was made or trained.
Dimension letters: B photos, C candidates, R thresholds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError
from geotoken.evidence import Evidence
from geotoken.geo import HALF_EARTH_KM
from geotoken.graphs import open_graph
from geotoken.metrics import THRESHOLDS_KM
from geotoken.reward.batch import RewardBatch, collate, describe
from geotoken.reward.config import RewardConfig
from geotoken.reward.proposals import Proposals

Floats = NDArray[np.float64]
Utility = Callable[[Floats], Floats]

CONFIG_FILE: Final = "reward.json"
GRAPH_FILE: Final = "reward.onnx"


class RewardModel:
    """Judges candidates: how probable is it that the photo was taken within each threshold of one?"""

    def __init__(self, config: RewardConfig, session: Any) -> None:
        """Take an open session into use; see `load`."""
        self.config = config
        self._session = session
        self._inputs = {one.name for one in session.get_inputs()}

    @classmethod
    def load(cls, folder: Path, num_threads: int | None = None) -> "RewardModel":
        """Read a reward model written by `geotoken.reward.network.export_reward`.

        Args:
            folder: Folder with reward.json and reward.onnx.
            num_threads: Processor cores; all when None.

        Returns:
            The model.

        Raises:
            ArtifactError: If a file is missing or damaged.
        """
        return cls(RewardConfig.load(folder / CONFIG_FILE), _session(folder / GRAPH_FILE, num_threads))

    def probabilities(self, evidence: Sequence[Evidence], proposals: Sequence[Proposals]) -> list[Floats]:
        """Judge the candidates of several photos; the answer for one does not depend on the others.

        Args:
            evidence: Evidence of B photos.
            proposals: The candidates of each.

        Returns:
            For each photo the probability that it was taken within 1, 25, 200, 750 and 2500 km of each
            candidate, shape (C, R), not falling along R.
        """
        if not evidence:
            return []
        found = self.judge(collate(evidence, proposals, self.config))
        return [rows[: len(one.lat)] for rows, one in zip(found, proposals, strict=True)]

    def judge(self, batch: RewardBatch) -> Floats:
        """Judge candidates that are padded already.

        Args:
            batch: Candidates and evidence of B photos.

        Returns:
            Probabilities, shape (B, C, R), not falling along R; meaningless where there is no candidate.
        """
        inputs = {n: a for n, a in describe(batch, self.config).items() if n in self._inputs}
        logits = self._session.run(["logits"], inputs)[0].astype(np.float64)
        # Who is within 25 km is within 200 km.
        return np.maximum.accumulate(1 / (1 + np.exp(-logits)), axis=-1)

    def score(self, evidence: Evidence, proposals: Proposals, utility: Utility | None = None) -> Floats:
        """The reward of each candidate of one photo: the expected utility of answering with it.

        Args:
            evidence: Evidence about the photo.
            proposals: Its candidates.
            utility: What an answer is worth at distances from the truth in km; must never rise. The share
                of the thresholds that are met when None.

        Returns:
            Rewards, shape (C,): exact for a utility that falls at thresholds only; any other is taken at the
            threshold beyond the distance.
        """
        within = self.probabilities([evidence], [proposals])[0]
        if utility is None:
            return np.asarray(within.mean(axis=1))
        worth = utility(np.array([*THRESHOLDS_KM, HALF_EARTH_KM], dtype=np.float64))
        return np.asarray(np.diff(within, axis=1, prepend=0.0, append=1.0) @ worth)


def _session(path: Path, num_threads: int | None) -> Any:
    """Open a graph on the CPU.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is missing; make it with: geotoken train reward")
    return open_graph(path, num_threads, "train it again, or install the model again")
