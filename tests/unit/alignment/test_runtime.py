import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from geotoken.alignment import Alignment, AlignmentConfig  # noqa: E402
from geotoken.alignment.config import FORMAT_VERSION, KIND  # noqa: E402
from geotoken.alignment.network import AlignmentNetwork, LocationEncoder, save_alignment  # noqa: E402
from geotoken.alignment.network.location import equal_earth as equal_earth_torch  # noqa: E402
from geotoken.alignment.runtime import equal_earth, to_units  # noqa: E402
from geotoken.errors import ArtifactError, InputError  # noqa: E402
from geotoken.manifest import write_manifest  # noqa: E402

EDGES = np.array([[90, 180], [-90, -180], [0, 0], [0, 180], [0, -180]], dtype=np.float64)


def some_places(num_places=300):
    random = np.random.default_rng(2)
    inside = np.stack([random.uniform(-90, 90, num_places), random.uniform(-180, 180, num_places)], axis=1)
    return np.concatenate([inside, EDGES])


@pytest.mark.parametrize(
    "changes", [{}, {"hidden": (7, 9), "num_hidden": 1, "scales": (0.5, 2048.0)}, {"text": "none"}]
)
def test_it_computes_what_pytorch_does(make_network, tmp_path, changes):
    network = make_network(**changes)
    save_alignment(network, tmp_path / "align")
    alignment = Alignment.load(tmp_path / "align")
    vectors = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    places = some_places(5000)
    with torch.inference_mode():
        expected = network.project(torch.from_numpy(vectors))
        expected_places = network.embed_places(torch.from_numpy(places))
    found = alignment.project(vectors)
    assert found.keys() == expected.keys() == network.config.modalities.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found[name], axis=1), 1, rtol=1e-5)
    embedded = alignment.embed_places(*places.T)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, expected_places.numpy(), rtol=0, atol=1e-5)


def test_the_location_encoder_of_geoclips_size_agrees_with_pytorch(tmp_path):
    torch.manual_seed(5)
    size = {"num_frequencies": 256, "width": 1024, "num_hidden": 3, "dim": 512}
    config = AlignmentConfig(image_encoder="clip", image_dim=512, hidden=None, text="none", **size)
    network = AlignmentNetwork(config)
    network.location_encoder.load_state_dict(LocationEncoder().state_dict())
    save_alignment(network, tmp_path / "align")
    places = some_places()
    with torch.inference_mode():
        expected = network.embed_places(torch.from_numpy(places)).numpy()
    found = Alignment.load(tmp_path / "align").embed_places(*places.T)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_length_of_an_image_vector_does_not_matter(folder):
    alignment = Alignment.load(folder)
    vectors = np.random.default_rng(1).normal(size=(4, 6))
    for name, value in alignment.project(vectors).items():
        np.testing.assert_allclose(alignment.project(5 * vectors)[name], value, atol=1e-6)


def test_without_heads_image_vectors_are_location_aligned(make_network, tmp_path):
    save_alignment(make_network(hidden=None, dim=6, text="none"), tmp_path / "align")
    vectors = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    found = Alignment.load(tmp_path / "align").project(vectors)
    assert list(found) == ["location"]
    np.testing.assert_allclose(
        found["location"], vectors / np.linalg.norm(vectors, axis=1)[:, None], atol=1e-6
    )


def test_the_map_is_that_of_the_network():
    places = some_places()
    np.testing.assert_allclose(
        equal_earth(*places.T), equal_earth_torch(torch.from_numpy(places)).numpy(), rtol=0, atol=1e-14
    )


def test_places_wrap_and_a_number_is_one_place(folder):
    alignment = Alignment.load(folder)
    np.testing.assert_array_equal(alignment.embed_places(10, 190), alignment.embed_places([10], [-170]))
    assert alignment.embed_places([], []).shape == (0, 8)
    with pytest.raises(InputError, match="latitude 91"):
        alignment.embed_places(91, 0)


def test_a_row_of_zeros_stays():
    np.testing.assert_allclose(to_units(np.array([[0, 0], [3, 4]], np.float32)), [[0, 0], [0.6, 0.8]])


def test_vectors_of_another_kind_are_refused(folder):
    alignment = Alignment.load(folder)
    for shape in ((6,), (2, 7)):
        with pytest.raises(InputError, match="give rows of 6 numbers"):
            alignment.project(np.zeros(shape))
    alignment.check_encoder("fake-6", 6)
    for name, dim in (("other", 6), ("fake-6", 7)):
        with pytest.raises(ArtifactError, match=r'encoder "fake-6" \(6 numbers\), not'):
            alignment.check_encoder(name, dim)


@pytest.mark.parametrize("name", ["align.json", "align.safetensors"])
def test_damage_is_named(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-3])
    with pytest.raises(ArtifactError, match=f"{name} has .* bytes instead of"):
        Alignment.load(folder)
    (folder / name).unlink()
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)
    with pytest.raises(ArtifactError, match=f"has no {name}"):
        Alignment.load(folder)


def test_weights_that_do_not_fit_are_refused(folder, make_network, tmp_path):
    save_alignment(make_network(width=21), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "align.safetensors", folder)
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)
    with pytest.raises(
        ArtifactError, match=r"branches\.0\.1\.weight are of shape \(21, 32\), not \(20, 32\)"
    ):
        Alignment.load(folder)
    config = json.loads((folder / "align.json").read_text())
    (folder / "align.json").write_text(json.dumps(config | {"width": 21, "scales": [1, 2, 3, 4]}))
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)
    with pytest.raises(ArtifactError, match=r"branches\.3\.0\.frequencies are missing"):
        Alignment.load(folder)
