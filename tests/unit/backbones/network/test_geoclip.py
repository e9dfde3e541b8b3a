import importlib
import sys
import types
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra backbones is not installed")
pytest.importorskip("transformers", reason="the extra backbones is not installed")

from geotoken.backbones.geoclip_package import IMAGE_HEAD, read_points  # noqa: E402
from geotoken.backbones.network import load_geoclip  # noqa: E402


@pytest.fixture(scope="module")
def geoclip(geoclip_files):
    return load_geoclip(geoclip_files)


@pytest.fixture
def unpacked(geoclip_files, tmp_path):
    """The folder of the package's own code."""
    if geoclip_files.is_dir():
        return geoclip_files / "geoclip" / "model"
    with zipfile.ZipFile(geoclip_files) as wheel:
        wheel.extractall(tmp_path)
    return tmp_path / "geoclip" / "model"


def test_places_get_the_vectors_that_the_package_gives_them(geoclip, geoclip_files, unpacked, monkeypatch):
    # Its modules by path: the package itself imports transformers and pandas.
    parent, misc = types.ModuleType("their_model"), types.ModuleType("their_model.misc")
    parent.__path__ = [str(unpacked)]
    misc.file_dir = str(unpacked)
    monkeypatch.setitem(sys.modules, "their_model", parent)
    monkeypatch.setitem(sys.modules, "their_model.misc", misc)
    with monkeypatch.context() as context:
        for name in ("location_encoder", "rff", "rff.layers", "rff.functional"):
            context.delitem(sys.modules, f"their_model.{name}", raising=False)
        theirs = importlib.import_module("their_model.location_encoder").LocationEncoder().eval()
    places = np.vstack([read_points(geoclip_files)[::100], [[90, 180], [-90, -180], [0, 0], [0, 180]]])
    given = torch.from_numpy(places).float()
    with torch.inference_mode():
        expected, actual = theirs(given), geoclip.location_encoder(given)
    assert float(expected.abs().max()) > 0.01
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_photos_get_the_vectors_that_the_package_gives_them(geoclip, unpacked):
    theirs = torch.nn.Sequential(torch.nn.Linear(768, 768), torch.nn.ReLU(), torch.nn.Linear(768, 512))
    theirs.load_state_dict(torch.load(unpacked.parents[1] / IMAGE_HEAD, weights_only=True))
    torch.manual_seed(2)
    vectors = torch.randn(20, 768)
    with torch.inference_mode():
        torch.testing.assert_close(geoclip.image_head(vectors), theirs(vectors), rtol=0, atol=1e-5)


def test_the_weights_know_places(geoclip):
    places = torch.tensor([[48.8584, 2.2945], [48.8606, 2.3376], [-33.8568, 151.2153]])
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(geoclip.location_encoder(places), dim=1)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > similarity[0, 2] + 0.2  # two places of Paris, and one of Sydney
    assert geoclip.logit_scale == pytest.approx(39.687, abs=0.001)
    assert geoclip.image_head.widths == (768, 768, 512)
