import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from geotoken.alignment import Alignment, AlignmentConfig  # noqa: E402
from geotoken.alignment.network import AlignmentNetwork, save_alignment  # noqa: E402
from geotoken.errors import ArtifactError  # noqa: E402
from geotoken.gallery import Gallery, GalleryTable  # noqa: E402
from geotoken.vectors import VectorSource, check_modalities, modalities_of  # noqa: E402

DIM = 6


@pytest.fixture
def alignment(tmp_path):
    torch.manual_seed(1)
    config = AlignmentConfig(image_encoder="fake", image_dim=DIM, dim=4, text_dim=3, num_buckets=8)
    save_alignment(AlignmentNetwork(config), tmp_path / "align")
    return Alignment.load(tmp_path / "align")


@pytest.fixture
def gallery():
    vectors = np.random.default_rng(0).normal(size=(20, DIM)).astype(np.float32)
    rows = [{"id": str(i), "lat": float(i), "lng": float(-i)} for i in range(20)]
    return Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), "fake")


class Head:
    def __init__(self, *names):
        self.config = type("Config", (), {"modalities": tuple((name, 1) for name in names)})


def test_a_head_that_reads_no_vectors_gets_none(gallery, tiny_mixture):
    assert modalities_of(tiny_mixture) == ()
    query = gallery.vectors[3]
    (neighbors,) = gallery.search(query[None], 4)
    evidence = VectorSource(gallery, None, ()).add_vectors(neighbors, query)
    assert (evidence.query_vectors, evidence.neighbor_vectors) == ({}, {})
    np.testing.assert_array_equal(evidence.neighbor_lat, neighbors.lat)


def test_vectors_are_those_of_the_photo_and_of_its_neighbors(gallery, alignment):
    query = gallery.vectors[3]
    (neighbors,) = gallery.search(query[None], 4)
    evidence = VectorSource(gallery, alignment, ("text", "image", "location")).add_vectors(neighbors, query)
    assert list(evidence.query_vectors) == list(evidence.neighbor_vectors) == ["text", "image", "location"]
    np.testing.assert_allclose(evidence.query_vectors["image"], query, atol=1e-7)
    np.testing.assert_allclose(evidence.neighbor_vectors["image"], gallery.vectors[neighbors.row])
    for name in ("text", "location"):
        expected = alignment.project(gallery.vectors[neighbors.row])[name]
        np.testing.assert_allclose(evidence.neighbor_vectors[name], expected, atol=1e-6)
        np.testing.assert_allclose(evidence.query_vectors[name], expected[0], atol=1e-6)  # its own nearest
    np.testing.assert_array_equal(evidence.neighbor_similarity, neighbors.similarity)


def test_the_length_of_a_photos_vector_says_nothing(gallery, alignment):
    (neighbors,) = gallery.search(gallery.vectors[3][None], 4)
    source = VectorSource(gallery, alignment, ("image", "text"))
    short, long = (source.add_vectors(neighbors, factor * gallery.vectors[3]) for factor in (1, 5))
    for name in ("image", "text"):
        np.testing.assert_allclose(short.query_vectors[name], long.query_vectors[name], atol=1e-6)


def test_image_vectors_need_no_alignment(gallery):
    query = gallery.vectors[0]
    (neighbors,) = gallery.search(query[None], 2)
    evidence = VectorSource(gallery, None, ("image",)).add_vectors(neighbors, query)
    assert evidence.neighbor_vectors["image"].shape == (2, DIM)


def test_a_model_that_lacks_what_its_head_reads_is_refused(alignment):
    check_modalities(Head(), None, "one")
    check_modalities(Head("image"), None, "one")
    check_modalities(Head("image", "location", "text"), alignment, "one")
    with pytest.raises(ArtifactError, match="the head of one reads text vectors, but the model gives image;"):
        check_modalities(Head("text"), None, "one")
    with pytest.raises(
        ArtifactError, match="reads sound vectors, but the model gives image and location and text"
    ):
        check_modalities(Head("image", "sound"), alignment, "one")
