"""What a score may depend on: a candidate, all of the evidence, and nothing else."""

import dataclasses

import numpy as np
import pytest
import torch

from geotoken.evidence import Evidence
from geotoken.reward import collate, describe
from geotoken.reward.network import RewardNetwork
from geotoken.reward.network.export import as_tensors, random_batch


def judge(network, evidence, proposals):
    """Log-odds of each photo's candidates, one array a photo."""
    batch = collate(evidence, proposals, network.config)
    with torch.no_grad():
        logits = network(as_tensors(batch, network.config)).numpy()
    return [one[: len(p.lat)] for one, p in zip(logits, proposals, strict=True)]


@pytest.fixture(params=[{}, {"modalities": ("text",), "places": True, "num_layers": 2}])
def network(request, make_config, make_network):
    return make_network(make_config(**request.param))


def test_permuting_candidates_permutes_the_scores(network, make_cases):
    evidence, proposals = make_cases()
    order = np.random.default_rng(1).permutation(7)
    before = judge(network, evidence, proposals)
    after = judge(network, evidence, [proposals[0].take(order), *proposals[1:]])
    np.testing.assert_allclose(after[0], before[0][order], atol=1e-5)
    assert np.ptp(before[0], axis=0).min() > 0.01  # candidates differ, or nothing were shown


def test_permuting_neighbors_with_their_ranks_changes_nothing(network, make_cases):
    evidence, proposals = make_cases()
    order = np.random.default_rng(1).permutation(5)
    one = evidence[0]
    shuffled = dataclasses.replace(
        one,
        neighbor_lat=one.neighbor_lat[order],
        neighbor_lng=one.neighbor_lng[order],
        neighbor_rank=one.neighbor_rank[order],
        neighbor_similarity=one.neighbor_similarity[order],
        neighbor_vectors={name: v[order] for name, v in one.neighbor_vectors.items()},
    )
    before = judge(network, evidence, proposals)[0]
    np.testing.assert_allclose(judge(network, [shuffled], proposals[:1])[0], before, atol=1e-5)
    other_ranks = dataclasses.replace(shuffled, neighbor_rank=one.neighbor_rank)
    assert np.abs(judge(network, [other_ranks], proposals[:1])[0] - before).max() > 1e-3


def test_another_photo_in_the_batch_changes_nothing(network, make_cases):
    evidence, proposals = make_cases()
    together = judge(network, evidence, proposals)
    for photo in range(4):
        alone = judge(network, evidence[photo : photo + 1], proposals[photo : photo + 1])[0]
        np.testing.assert_allclose(alone, together[photo], atol=1e-5)


def test_another_candidate_tells_a_candidate_its_rank_and_nothing_else(network, make_cases):
    evidence, proposals = make_cases()
    likely_first = proposals[0].take(np.argsort(-proposals[0].log_prob))
    fewer = likely_first.take(np.arange(3))
    whole = judge(network, evidence[:1], [likely_first])[0]
    np.testing.assert_allclose(judge(network, evidence[:1], [fewer])[0], whole[:3], atol=1e-5)


def test_each_candidate_sees_every_item_of_its_own_photo_and_of_no_other(network, make_cases):
    evidence, proposals = make_cases()
    batch = collate(evidence, proposals, network.config)
    inputs = as_tensors(batch, network.config)
    for name in ("item", "relation"):
        inputs[name].requires_grad_()
    logits = network(inputs)
    for photo, candidate in np.argwhere(batch.mask):
        item, relation = torch.autograd.grad(
            logits[photo, candidate].square().sum(), [inputs["item"], inputs["relation"]], retain_graph=True
        )
        reached = item.abs().sum(dim=-1).numpy() > 0
        np.testing.assert_array_equal(reached[photo], batch.item_mask[photo])
        assert reached.sum() == batch.item_mask[photo].sum()
        reached = relation.abs().sum(dim=-1).numpy() > 0
        np.testing.assert_array_equal(reached[photo, candidate], batch.item_mask[photo])
        assert reached.sum() == batch.item_mask[photo].sum()


def test_a_neighbor_that_moves_changes_every_candidate(network, make_cases):
    evidence, proposals = make_cases()
    before = judge(network, evidence[:1], proposals[:1])[0]
    for neighbor in range(5):
        lat = evidence[0].neighbor_lat.copy()
        lat[neighbor] = -lat[neighbor]
        after = judge(network, [dataclasses.replace(evidence[0], neighbor_lat=lat)], proposals[:1])[0]
        assert np.abs(after - before).max(axis=1).min() > 1e-4


def test_untrained_it_says_what_the_posterior_says(make_config):
    torch.manual_seed(0)
    network = RewardNetwork(make_config()).eval()
    batch = random_batch(network.config, (3, 4, 5))
    with torch.no_grad():
        logits = network(as_tensors(batch, network.config)).numpy()
    np.testing.assert_array_equal(logits, describe(batch, network.config)["expected"])


def test_no_evidence_is_judged_too(network, make_cases):
    _, proposals = make_cases()
    assert np.isfinite(judge(network, [Evidence()], proposals[:1])[0]).all()


def test_a_place_counts_only_where_it_is_told(make_config, make_network, make_cases):
    proposals = make_cases()[1]
    # Without evidence nothing but the place itself differs between two candidates that are moved.
    moved = dataclasses.replace(proposals[3], lat=-proposals[3].lat, lng=-proposals[3].lng)
    for places in (False, True):
        network = make_network(make_config(places=places))
        change = judge(network, [Evidence()], [moved])[0] - judge(network, [Evidence()], [proposals[3]])[0]
        assert (np.abs(change).max() > 1e-3) == places
