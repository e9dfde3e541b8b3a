"""Evidence as positions of the encoder, in the paper's layout or one position a neighbor.

Owns which numbers become which position; must not know what the encoder does with them.
Dimension letters: B photos, E items, M modalities, T tokens, P positions, D width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from geotoken.model.batch import PLACE_DIM
from geotoken.model.cache import embedding_offsets
from geotoken.model.config import ModelConfig
from geotoken.model.network.layers import sinusoid


class EvidenceEmbedding(nn.Module):
    """Positions `[summary, query vectors, items]`; an item is one position, or its vectors and tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, num_modalities = config.width, len(config.modalities)
        self.summary = nn.Parameter(torch.randn(width))
        self.vectors = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in config.modalities})
        offsets = torch.from_numpy(embedding_offsets(config.scheme))
        self.offsets: Tensor
        self.register_buffer("offsets", offsets[:-1] - 1, persistent=False)
        self.tokens = nn.Embedding(int(offsets[-1]) - 1, width)
        if config.layout == "pooled":
            self.place = nn.Linear(PLACE_DIM, width)
            self.norm = nn.LayerNorm(width)
        if config.rank_embedding:
            self.rank = nn.Embedding(config.num_neighbors + 1, width)
        if config.similarity_embedding:
            self.similarity = nn.Linear(2, width, bias=False)
        if config.relative_similarity:
            self.standing = nn.Linear(2, width, bias=False)
        if config.modality_embedding:  # of a query's vectors, a neighbor's, then a neighbor and a guess
            self.kind = nn.Embedding(2 * num_modalities + 2, width)
        if config.num_guesses:
            self.guess = nn.Embedding(2, width, padding_idx=0)
            self.guess_weight = nn.Linear(1, width, bias=False)

    def forward(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Embed a batch of evidence.

        Args:
            arrays: The arrays of an `EvidenceBatch` by name.

        Returns:
            Positions, shape (B, P, D), and whether each is there, shape (B, P), bool.
        """
        about = self._about_items(arrays)  # (B, E, D)
        parts = self._pooled(arrays, about) if self.config.layout == "pooled" else self._full(arrays, about)
        items, items_present = parts
        num_photos = items.shape[0]
        head = [self.summary.expand(num_photos, 1, -1)]
        for m, (name, _) in enumerate(self.config.modalities):
            head.append(self._vector(name, arrays[f"query_{name}"], m)[:, None])
        x = torch.cat([*head, items], dim=1)
        always = torch.ones_like(items_present[:, :1])
        present = torch.cat([always, arrays["query_present"], items_present], dim=1)
        if self.config.layout == "pooled":
            normed: Tensor = self.norm(x)
            return normed, present
        position = torch.arange(x.shape[1], device=x.device)
        return x + sinusoid(position, self.config.width).to(x.dtype), present

    def _vector(self, name: str, vectors: Tensor, kind: int) -> Tensor:
        """Vectors of one modality, shape (..., dim), as embeddings, shape (..., D)."""
        projection = self.vectors[name]
        assert isinstance(projection, nn.Linear)
        x = vectors.to(projection.weight.dtype)
        if self.config.scale_queries:  # entries of size 1, as those of the embeddings
            x = normalize(x, dim=-1) * x.shape[-1] ** 0.5
        embedded: Tensor = projection(x)
        return embedded + self.kind.weight[kind] if self.config.modality_embedding else embedded

    def _about_items(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """What is told of an item beside its place, shape (B, E, D)."""
        dtype = self.summary.dtype
        about = torch.zeros_like(arrays["item_similarity"], dtype=dtype)[..., None]
        if self.config.rank_embedding:
            about = about + self.rank(arrays["item_rank"])
        if self.config.similarity_embedding:
            known = arrays["item_similarity_known"].to(dtype)
            about = about + self.similarity(torch.stack([arrays["item_similarity"].to(dtype), known], dim=-1))
        if self.config.relative_similarity:
            standing = relative(arrays["item_similarity"].to(dtype), arrays["item_similarity_known"])
            about = about + self.standing(standing)
        if self.config.num_guesses:
            weight = arrays["item_log_weight"].to(dtype)[..., None]
            about = about + self.guess(arrays["item_kind"]) + self.guess_weight(weight)
        if self.config.modality_embedding:
            about = about + self.kind(arrays["item_kind"] + 2 * len(self.config.modalities))
        return about

    def _tokens(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embeddings of the tokens of the items, shape (B, E, T, D)."""
        return self.tokens(arrays["item_tokens"] + self.offsets)  # type: ignore[no-any-return]

    def _item_vectors(self, arrays: Mapping[str, Tensor]) -> list[Tensor]:
        """Embeddings of each modality's vectors of the items, shape (B, E, D)."""
        names = [name for name, _ in self.config.modalities]
        return [self._vector(n, arrays[f"item_{n}"], len(names) + m) for m, n in enumerate(names)]

    def _pooled(self, arrays: Mapping[str, Tensor], about: Tensor) -> tuple[Tensor, Tensor]:
        """One position an item, shape (B, E, D), and whether it is there, shape (B, E)."""
        x = about + self._tokens(arrays).sum(dim=2) + self.place(arrays["item_place"].to(about.dtype))
        for m, vectors in enumerate(self._item_vectors(arrays)):
            x = x + vectors * arrays["item_present"][..., m, None]
        return x, arrays["item_mask"]

    def _full(self, arrays: Mapping[str, Tensor], about: Tensor) -> tuple[Tensor, Tensor]:
        """M + T positions an item, shape (B, E * (M + T), D), and whether each is there."""
        vectors = self._item_vectors(arrays)
        x = torch.cat([*(v[:, :, None] for v in vectors), self._tokens(arrays)], dim=2)
        x = x + about[:, :, None]
        mask = arrays["item_mask"][..., None].expand(-1, -1, self.config.scheme.length)
        present = torch.cat([arrays["item_present"], mask], dim=2)
        return x.flatten(1, 2), present.flatten(1, 2)


def relative(similarity: Tensor, known: Tensor) -> Tensor:
    """How similarities stand among those of the photo's neighbors.

    Cosines of image vectors fill a narrow band, whose place and width differ from photo to photo.

    Args:
        similarity: Similarities, shape (B, E).
        known: Whether each is known, shape (B, E), bool.

    Returns:
        Distance above the mean of the photo's neighbors, in twentieths and in standard deviations, shape
        (B, E, 2); 0 where not known.
    """
    share = known.to(similarity.dtype)
    share = share / share.sum(dim=1, keepdim=True).clamp_min(1)
    above = (similarity - (similarity * share).sum(dim=1, keepdim=True)) * known
    deviation = (above.square() * share).sum(dim=1, keepdim=True).sqrt()
    return torch.stack([20 * above, above / deviation.clamp_min(1e-4)], dim=-1)
