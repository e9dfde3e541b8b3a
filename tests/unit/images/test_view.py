import numpy as np
import pytest

from geotoken.errors import ArtifactError
from geotoken.images.view import RESIZE_POLICIES, View


def gradient(height, width):
    """Red grows to the right, green downwards."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width).round()
    pixels[..., 1] = np.linspace(0, 255, height).round()[:, None]
    return pixels


SIZES = [(300, 300), (480, 640), (640, 480), (50, 30), (1, 1), (1, 500), (500, 1), (100, 5000)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("side", [32, 100, 256])
def test_square_views(resize, side, size):
    view = View(side=side, resize=resize).apply(gradient(*size))
    assert view.shape == (side, side, 3)
    assert view.dtype == np.uint8


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [32, 224, 256])
def test_area_views(side, size):
    height, width = View(side=side, resize="area").apply(gradient(*size)).shape[:2]
    aspect = np.clip(size[1] / size[0], 0.5, 2)
    assert height % 32 == width % 32 == 0
    assert min(height, width) >= 32
    assert abs(width - side * aspect**0.5) <= 16
    assert abs(height - side / aspect**0.5) <= 16


def test_area_views_of_known_photos():
    view = View(side=256, resize="area")
    shapes = [
        view.apply(gradient(*size)).shape[:2] for size in [(256, 256), (240, 320), (400, 200), (10, 90)]
    ]
    assert shapes == [(256, 256), (224, 288), (352, 192), (192, 352)]


def test_squash_shows_all_and_crop_the_centre():
    photo = gradient(100, 300)
    squash = View(side=64, resize="squash").apply(photo).astype(int)
    crop = View(side=64, resize="crop").apply(photo).astype(int)
    assert squash[:, 0, 0].max() <= 4
    assert squash[:, -1, 0].min() >= 251
    assert abs(crop[:, 0, 0] - 85).max() <= 3
    assert abs(crop[:, -1, 0] - 170).max() <= 3
    for view in (squash, crop):
        assert view[0, :, 1].max() <= 4
        assert view[-1, :, 1].min() >= 251
    tall = View(side=64, resize="crop").apply(gradient(300, 100)).astype(int)
    assert abs(tall[0, :, 1] - 85).max() <= 3


@pytest.mark.parametrize("resize", RESIZE_POLICIES)
def test_flip_mirrors_left_to_right(resize):
    plain = View(side=96, resize=resize).apply(gradient(70, 110))
    flipped = View(side=96, resize=resize, flip=True).apply(gradient(70, 110))
    np.testing.assert_array_equal(flipped, plain[:, ::-1])
    assert (flipped != plain).any()


@pytest.mark.parametrize("change", [{"resize": "stretch"}, {"side": 31}, {"side": 1025}, {"side": -256}])
def test_view_out_of_range(change):
    with pytest.raises(ArtifactError, match=f"has {next(iter(change))} = "):
        View(**{"side": 256, "resize": "squash", **change})
