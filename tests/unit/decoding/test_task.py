import numpy as np
import pytest

from geotoken import cells
from geotoken.decoding import DECODERS, DecodingOptions, decode, score, score_prefixes
from geotoken.errors import InputError

TABLES = pytest.mark.parametrize("table", ["random", "sparse"])
EACH_DECODER = pytest.mark.parametrize("decoder", DECODERS)
KEYS = (4, 0, 9, 2, 7)


def as_lists(candidates):
    counts = candidates.num_samples
    return [
        candidates.tokens.tolist(),
        candidates.log_prob.tolist(),
        None if counts is None else counts.tolist(),
    ]


@TABLES
@EACH_DECODER
def test_a_batch_equals_its_photos_one_by_one(make_model, photos, table, decoder):
    options = DecodingOptions(decoder=decoder, temperature=0.8, seed=11)
    model = make_model(table)
    together = decode(model, photos(*KEYS), options)
    for key, one in zip(KEYS, together, strict=True):
        assert as_lists(one) == as_lists(*decode(model, photos(key), options))


@TABLES
@EACH_DECODER
def test_permuting_photos_permutes_answers(make_model, photos, table, decoder):
    options = DecodingOptions(decoder=decoder)
    model = make_model(table)
    forward = [as_lists(one) for one in decode(model, photos(*KEYS), options)]
    backward = [as_lists(one) for one in decode(model, photos(*reversed(KEYS)), options)]
    assert forward == backward[::-1]


@TABLES
@EACH_DECODER
def test_candidates_are_leaves_best_first_with_the_log_prob_that_score_gives(
    make_model, photos, table, decoder
):
    model = make_model(table)
    for key, found in zip(KEYS, decode(model, photos(*KEYS), DecodingOptions(decoder=decoder)), strict=True):
        assert np.all(np.diff(found.log_prob) <= 0)
        assert len(np.unique(found.tokens, axis=0)) == len(found.tokens) >= 1
        np.testing.assert_allclose(
            found.log_prob, score(model, photos(key), found.tokens[None])[0], atol=1e-12
        )
        np.testing.assert_array_equal(
            cells.from_lat_lng(found.lat, found.lng, model.scheme.level), model.scheme.to_cells(found.tokens)
        )
        assert (found.num_samples is not None) == (decoder == "sample")


def test_greedy_is_the_first_of_nothing_but_a_beam_of_one(make_model, photos):
    model = make_model()
    greedy = decode(model, photos(*KEYS), DecodingOptions(decoder="greedy"))
    beam = decode(model, photos(*KEYS), DecodingOptions(beam_width=1))
    assert [as_lists(one) for one in greedy] == [as_lists(one) for one in beam]


def test_decode_takes_encoded_evidence_and_none_at_all(make_model, photos):
    model = make_model()
    (from_memory,) = decode(model, model.encode(photos(3)))
    (from_evidence,) = decode(model, photos(3))
    assert as_lists(from_memory) == as_lists(from_evidence)
    assert decode(model, []) == []


@TABLES
def test_score_equals_enumeration(make_model, photos, table):
    model = make_model(table)
    leaves = [model.leaves(key) for key in KEYS]
    tokens = np.stack([tokens for tokens, _ in leaves])
    expected = np.stack([log_prob for _, log_prob in leaves])
    np.testing.assert_allclose(score(model, photos(*KEYS), tokens), expected, atol=1e-12)
    assert np.isneginf(expected).any() == (table == "sparse")


def test_score_shares_prefixes(make_model, photos):
    model = make_model()
    tokens = np.array([[[0, 1, 2, 3], [0, 1, 2, 0], [0, 1, 0, 0], [0, 1, 2, 3]]])
    model.num_rows = 0
    score(model, photos(1), tokens)
    assert model.num_rows == 1 + 1 + 1 + 2


def test_score_of_impossible_leaves_only(make_model, photos):
    model = make_model(lambda key, prefix, size: np.eye(size)[0])
    tokens = np.array([[[1, 0, 0, 0], [0, 0, 0, 1]], [[5, 3, 3, 3], [0, 1, 0, 0]]])
    assert np.isneginf(score(model, photos(0, 1), tokens)).all()


@pytest.mark.parametrize(
    "tokens",
    [
        np.zeros((2, 4), dtype=int),
        np.zeros((3, 1, 4), dtype=int),
        np.zeros((2, 1, 3), dtype=int),
        np.full((2, 1, 4), 6),
        np.full((2, 1, 4), 4),
        np.full((2, 1, 4), -1),
    ],
)
def test_score_refuses_what_are_no_leaves(make_model, photos, tokens):
    with pytest.raises(InputError, match="token"):
        score(make_model(), photos(0, 1), tokens)


def test_score_of_nothing_is_empty(make_model, photos):
    assert score(make_model(), photos(0, 1), np.zeros((2, 0, 4), dtype=int)).shape == (2, 0)
    assert score(make_model(), [], np.zeros((0, 3, 4), dtype=int)).shape == (0, 3)


def test_prefixes_are_scored_on_the_way_to_their_leaf(make_model, photos):
    model = make_model()
    found = decode(model, photos(0, 1), DecodingOptions(decoder="beam", beam_width=3))
    tokens = np.stack([f.tokens[:2] for f in found])
    prefixes = score_prefixes(model, photos(0, 1), tokens)
    assert prefixes.shape == tokens.shape
    assert np.all(np.diff(prefixes, axis=2) <= 1e-12)
    np.testing.assert_allclose(prefixes[..., -1], score(model, photos(0, 1), tokens))
    np.testing.assert_allclose(prefixes[..., -1], np.stack([f.log_prob[:2] for f in found]))
