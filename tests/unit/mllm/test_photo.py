"""The picture that is sent: upright, small, and nothing but pixels."""

import io

import pytest
from PIL import Image

from geotoken.errors import ImageError
from geotoken.mllm.photo import picture


def test_a_picture_is_small_upright_and_bare(tmp_path):
    image = Image.new("RGB", (400, 200), "red")
    image.paste("blue", (0, 0, 200, 200))
    exif = image.getexif()
    exif[0x0112], exif[0x013B] = 6, "Ann Owner"  # to be turned by 90 degrees; artist
    path = tmp_path / "photo.jpg"
    image.save(path, exif=exif, comment=b"a comment")
    jpeg = picture(str(path), 100)
    assert b"Ann" not in jpeg
    assert b"comment" not in jpeg
    with Image.open(io.BytesIO(jpeg)) as sent:
        assert sent.size == (50, 100)
        assert not sent.getexif()
        red, _, blue = sent.getpixel((25, 5))  # the left of the file is the top of the photo
        assert blue > 200 > 50 > red


def test_a_small_photo_keeps_its_size(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (30, 20)).save(path)
    with Image.open(io.BytesIO(picture(str(path), 768))) as sent:
        assert sent.size == (30, 20)


def test_a_photo_that_is_gone_is_told(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        picture(str(tmp_path / "gone.jpg"), 768)
