import io

from PIL import Image

from geotoken.pictures.thumbnail import SIDE, thumbnail


def test_it_is_small_upright_and_without_metadata(tmp_path):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    exif[0x010F] = "a camera"
    Image.new("RGB", (1000, 500), "red").save(path, exif=exif)
    with Image.open(io.BytesIO(thumbnail(str(path)))) as image:
        assert image.format == "JPEG"
        assert image.size == (SIDE // 2, SIDE)
        assert len(image.getexif()) == 0


def test_a_small_photo_is_not_enlarged(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "photo.png")
    with Image.open(io.BytesIO(thumbnail(str(tmp_path / "photo.png")))) as image:
        assert image.size == (30, 20)


def test_a_photo_that_is_gone_has_none(tmp_path):
    assert thumbnail(str(tmp_path / "gone.jpg")) is None
