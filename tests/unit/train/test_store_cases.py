from dataclasses import replace

import numpy as np
import pytest

from feature_stores import make_store
from geotoken.errors import InputError
from geotoken.gallery import Gallery, Neighbors
from geotoken.model.batch import collate
from geotoken.model.config import ModelConfig
from geotoken.train.neighbor_lists import NeighborLists
from geotoken.train.neighbors import NeighborRule, prepare_neighbors
from geotoken.train.splits import owner_codes
from geotoken.train.store_cases import StoreCases
from geotoken.vectors import VectorSource

CONFIG = ModelConfig(
    width=16, num_encoder_layers=1, num_decoder_layers=1, num_heads=2, feed_forward=16, level=20,
    modalities=(("image", 8), ("text", 3), ("location", 5)), num_neighbors=4,
)  # fmt: skip
RULE = NeighborRule(num_neighbors=6, same_owner=False, within_km=17_500)


class Linear:
    """An alignment: two random matrices."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.matrices = {"location": rng.normal(size=(8, 5)), "text": rng.normal(size=(8, 3))}
        self.num_vectors = 0

    def project(self, vectors):
        assert vectors.dtype == np.float32
        self.num_vectors += len(vectors)
        return {name: (vectors @ one).astype(np.float32) for name, one in self.matrices.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    store = make_store(folder / "store", length=3.0)
    return store, prepare_neighbors(store, folder / "out", RULE)


@pytest.fixture
def cases(made):
    store, report = made
    return StoreCases.open(store, report.lists, CONFIG, alignment=Linear())


def units(store, rows):
    image = store.batch(rows, ["image"])["image"].astype(np.float32)
    return image / np.linalg.norm(image, axis=1, keepdims=True)


def by_search(store, gallery, store_row):
    """Evidence of one photo as it would be gathered for it alone."""
    image = units(store, np.array([store_row]))
    table = store.table(np.array([store_row]))
    own = np.flatnonzero(gallery.table.id == table["id"][0])
    exclusion = RULE.exclusion(
        lat=store.lat[store_row], lng=store.lng[store_row], sha256=table["sha256"][0],
        row=int(own[0]) if len(own) else None,
    )  # fmt: skip
    found = gallery.search(image, RULE.num_neighbors, exclusion)[0]
    stored = units(store, store.rows_of("train")[found.row])
    query, near = ({"image": one, **Linear().project(one)} for one in (image, stored))
    return replace(
        found.to_evidence(),
        query_vectors={name: one[0].astype(np.float64) for name, one in query.items()},
        neighbor_vectors={name: one.astype(np.float64) for name, one in near.items()},
    )


def test_evidence_is_that_of_single_photos(made, cases):
    store, report = made
    gallery = Gallery.load(report.gallery)
    rows = np.array([200, 3, 3, *range(70, 100)])
    batch = cases.evidence(rows, None)
    rows_of_store = np.setdiff1d(np.arange(len(store)), store.rows_of("test"))[rows]
    evidence = [by_search(store, gallery, row) for row in rows_of_store]
    expected = collate(evidence, CONFIG).arrays()
    found = batch.arrays()
    assert found.keys() == expected.keys()
    counts = expected["item_mask"].sum(axis=1)
    assert counts.min() < CONFIG.num_neighbors <= counts.max() == 4  # short lists are among them
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        mask = expected["item_mask"] if name.startswith("item_") and name != "item_mask" else ...
        np.testing.assert_allclose(found[name][mask], values[mask], atol=2e-6, err_msg=name)
    np.testing.assert_array_equal(cases.lat[rows], store.lat[rows_of_store])
    np.testing.assert_array_equal(cases.lng[rows], store.lng[rows_of_store])


def test_vectors_are_those_of_a_photo_that_is_located(made, cases):
    store, report = made
    gallery = Gallery.load(report.gallery)
    source = VectorSource(gallery, Linear(), ("image", "text", "location"))
    rows = np.arange(60, 90)
    batch = cases.evidence(rows)
    lists = NeighborLists.open(report.lists, store)
    near = lists.take(rows)[0]
    for position, row in enumerate(lists.query_rows[rows]):
        count = min(CONFIG.num_neighbors, int((near[position] >= 0).sum()))
        image = store.batch(np.array([row]), ["image"])["image"].astype(np.float32)
        place = np.zeros(count)  # of no matter for vectors
        found = replace(Neighbors.none(), row=near[position, :count], similarity=place, lat=place, lng=place)
        evidence = source.add_vectors(found, image[0])
        for name in ("image", "text", "location"):
            np.testing.assert_allclose(
                batch.query_vectors[name][position], evidence.query_vectors[name], atol=2e-6
            )
            np.testing.assert_allclose(
                batch.item_vectors[name][position, :count], evidence.neighbor_vectors[name], atol=2e-6
            )


def test_what_no_alignment_makes_is_read_as_it_is(made):
    store, report = made
    read = StoreCases.open(store, report.lists, replace(CONFIG, modalities=(("text", 3),)))
    rows = np.arange(7)
    expected = store.batch(np.setdiff1d(np.arange(len(store)), store.rows_of("test"))[rows])["text"]
    np.testing.assert_array_equal(read.evidence(rows).query_vectors["text"], expected.astype(np.float32))


def test_each_photo_is_projected_once(made):
    store, report = made
    alignment = Linear()
    cases = StoreCases.open(store, report.lists, CONFIG, alignment=alignment)
    alignment.num_vectors = 0
    cases.evidence(np.zeros(32, dtype=np.int64))
    assert alignment.num_vectors <= 1 + CONFIG.num_neighbors


def test_owners_and_splits(made, cases):
    store, _ = made
    rows = np.setdiff1d(np.arange(len(store)), store.rows_of("test"))
    owners = store.table(rows)["owner"]
    assert len(cases) == len(rows) == len(cases.owner)
    for i in range(0, len(rows), 11):
        same = owners == owners[i] if owners[i] is not None else np.arange(len(rows)) == i
        np.testing.assert_array_equal(cases.owner == cases.owner[i], same)
    np.testing.assert_array_equal(rows[cases.held_out(0.1)], store.rows_of("val"))
    assert len(np.unique(owner_codes(store, rows))) == len({o for o in owners if o}) + sum(owners == None)  # noqa: E711


def test_what_cannot_be_had_is_refused(made):
    store, report = made
    with pytest.raises(InputError, match="no modality location"):
        StoreCases.open(store, report.lists, CONFIG)
    wrong = replace(CONFIG, modalities=(("image", 9),))
    with pytest.raises(InputError, match="image vectors have 8 numbers, but the model expects 9"):
        StoreCases.open(store, report.lists, wrong)
    unknown = replace(CONFIG, modalities=(("sound", 2),))
    with pytest.raises(InputError, match="alignment does not make the modality 'sound'"):
        StoreCases.open(store, report.lists, unknown, alignment=Linear())


def test_a_model_without_modalities_needs_no_vectors(made):
    store, report = made
    cases = StoreCases.open(store, report.lists, replace(CONFIG, modalities=()))
    batch = cases.evidence(np.arange(5))
    assert batch.query_vectors == {}
    assert batch.query_present.shape == (5, 0)
    assert batch.item_mask.shape == (5, 4)
