import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from geotoken.errors import InputError
from geotoken.gallery.build import BATCH_SIZE, build_gallery, embed_entries
from geotoken.gallery.index import Gallery


class MeanColor:
    """An encoder that sees the mean color only, and counts what it is given."""

    name = "mean-color"
    dim = 3
    min_side = 8

    def __init__(self):
        self.batch_sizes = []
        self.largest_side = 0

    def embed(self, photos, *, for_gallery):
        assert for_gallery
        self.batch_sizes.append(len(photos))
        self.largest_side = max(self.largest_side, *(max(pixels.shape) for pixels in photos))
        return np.stack([pixels.mean(axis=(0, 1)) for pixels in photos]).astype(np.float32)


def make_photo(path, color, gps=None, size=(20, 16)):
    """A photo of one color; `gps` in whole minutes, (lat, lng) with signs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if gps is not None:
        parts = [
            (IFDRational(abs(minutes) // 60), IFDRational(abs(minutes) % 60), IFDRational(0))
            for minutes in gps
        ]
        exif[0x8825] = {
            1: "S" if gps[0] < 0 else "N",
            2: parts[0],
            3: "W" if gps[1] < 0 else "E",
            4: parts[1],
        }
    Image.new("RGB", size, color).save(path, exif=exif)
    return path


def write_csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


RED, GREEN, BLUE = (250, 5, 5), (5, 250, 5), (5, 5, 250)


def test_a_folder_with_exif_positions_becomes_a_gallery(tmp_path):
    photos = tmp_path / "photos"
    make_photo(photos / "lima.jpg", RED, gps=(-12 * 60 - 3, -77 * 60 - 2))
    make_photo(photos / "sub" / "oslo.jpg", GREEN, gps=(59 * 60 + 54, 10 * 60 + 45))
    report = build_gallery(photos, MeanColor(), tmp_path / "out")
    assert (report.num_added, report.errors, report.duplicates) == (2, [], [])
    gallery = Gallery.load(tmp_path / "out")
    assert gallery.encoder_name == "mean-color"
    assert list(gallery.table.id) == ["lima.jpg", "sub/oslo.jpg"]
    np.testing.assert_allclose(gallery.table.lat, [-12.05, 59.9])
    np.testing.assert_allclose(gallery.table.lng, [-77 - 2 / 60, 10.75])
    assert list(gallery.table.coord_precision) == ["exif", "exif"]
    assert gallery.search(np.array([[0.1, 1, 0.1]], dtype=np.float32), 1)[0].id == ["sub/oslo.jpg"]


def test_nothing_in_a_folder_is_passed_over_in_silence(tmp_path):
    photos = tmp_path / "photos"
    original = make_photo(photos / "a.jpg", RED, gps=(60, 60))
    (photos / "b.jpg").write_bytes(original.read_bytes())
    make_photo(photos / "c.jpg", GREEN)
    (photos / "d.jpg").write_text("not a photo")
    (photos / "e.jpg").write_bytes(b"")
    report = build_gallery(photos, MeanColor(), tmp_path / "out")
    assert report.num_added == 1
    assert [(d.image, d.first) for d in report.duplicates] == [("b.jpg", "a.jpg")]
    assert [error.image for error in report.errors] == ["c.jpg", "d.jpg", "e.jpg"]
    assert "no GPS position" in report.errors[0].reason
    assert all("\n" not in error.reason for error in report.errors)
    assert Gallery.load(tmp_path / "out").size == 1


def test_a_csv_gives_positions_and_credits(tmp_path):
    make_photo(tmp_path / "data" / "im" / "a.png", RED, gps=(60, 60))
    make_photo(tmp_path / "data" / "b.png", BLUE)
    source = write_csv(
        tmp_path / "data" / "list.csv",
        "\ufeffimage, lat,lng,owner,attribution,license,source_url,id,unknown\n"
        'im/a.png,48.8584,2.2945,ann,"Ann, of Arles",CC BY 4.0,https://a.example,eiffel,x\n'
        "b.png,-13.1631,190,,,,,,\n",
    )
    report = build_gallery(source, MeanColor(), tmp_path / "out")
    assert (report.num_added, report.errors, report.unused_columns) == (2, [], ["unknown"])
    table = Gallery.load(tmp_path / "out").table
    assert list(table.id) == ["eiffel", "b.png"]
    assert list(table.lat) == [48.8584, -13.1631]
    assert list(table.lng) == [2.2945, -170.0]
    assert list(table.owner) == ["ann", None]
    assert list(table.attribution) == ["Ann, of Arles", None]
    assert list(table.license) == ["CC BY 4.0", None]
    assert list(table.source_url) == ["https://a.example", None]
    assert list(table.coord_precision) == [None, None]
    assert all(len(digest) == 64 for digest in table.sha256)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.png,91,0,", "latitude 91"),
        ("a.png,nan,0,", "latitude nan"),
        ("a.png,north,0,", "its position is 'north', '0'"),
        ("a.png,,0,", "its lat is empty"),
        ("a.png,5", "its lng is empty"),
        (",5,5,", "its image is empty"),
        ("a.png,5,5,me,more", "more cells than the header"),
        ("nowhere.png,5,5,", "nowhere.png"),
        ("broken.png,5,5,", "broken.png"),
    ],
)
def test_a_bad_row_is_reported_with_its_reason_and_the_others_stay(tmp_path, line, reason):
    make_photo(tmp_path / "a.png", RED)
    make_photo(tmp_path / "good.png", GREEN)
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    source = write_csv(tmp_path / "list.csv", f"image,lat,lng,owner\n{line}\ngood.png,1,2,\n")
    report = build_gallery(source, MeanColor(), tmp_path / "out")
    assert report.num_added == 1
    assert len(report.errors) == 1
    assert reason in report.errors[0].reason
    assert report.errors[0].image in {"list.csv line 2", "nowhere.png", "broken.png"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,lat\na.png,1\n", "lacks the column lng"),
        ("", "lacks the column image, lat, lng; found: nothing"),
        (
            "image;lat;lng\na.png;1;2\n",
            "found: image;lat;lng. A gallery needs image, lat, lng, separated by commas",
        ),
        ("image,lat,lng\n", "has no rows"),
        ('image,lat,lng\n"a.png,1,2\n', "cannot be read"),
        ("image,lat,lng\na.png,91,2\n", "none of the 1 photos"),
        ("image,lat,lng\nnowhere.png,1,2\n", r"none of the 1 photos .* nowhere\.png"),
    ],
)
def test_a_source_without_a_usable_photo_is_an_input_error(tmp_path, text, message):
    source = write_csv(tmp_path / "list.csv", text)
    with pytest.raises(InputError, match=message):
        build_gallery(source, MeanColor(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_positions_is_an_input_error_and_leaves_nothing(tmp_path):
    make_photo(tmp_path / "photos" / "a.jpg", RED)
    with pytest.raises(InputError, match=r"none of the 1 photos .* no GPS"):
        build_gallery(tmp_path / "photos", MeanColor(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_an_occupied_destination_is_refused_before_any_photo_is_read(tmp_path):
    make_photo(tmp_path / "photos" / "a.jpg", RED, gps=(60, 60))
    encoder = MeanColor()
    build_gallery(tmp_path / "photos", encoder, tmp_path / "out")
    with pytest.raises(InputError, match=r"already is a gallery; .* overwrite"):
        build_gallery(tmp_path / "photos", encoder, tmp_path / "out")
    assert encoder.batch_sizes == [1]
    assert build_gallery(tmp_path / "photos", encoder, tmp_path / "out", overwrite=True).num_added == 1


def test_photos_come_in_bounded_batches_no_larger_than_needed(tmp_path):
    num_photos = 2 * BATCH_SIZE + 1
    for i in range(num_photos):
        make_photo(tmp_path / f"{i:02}.jpg", (i, 255 - i, 0), gps=(i + 1, i), size=(400, 300))
    (tmp_path / "05.jpg").write_bytes(b"")
    encoder, seen = MeanColor(), []
    report = build_gallery(
        tmp_path, encoder, tmp_path / "out", progress=lambda done, total: seen.append((done, total))
    )
    assert report.num_added == num_photos - 1
    assert encoder.batch_sizes == [BATCH_SIZE - 1, BATCH_SIZE, 1]
    assert seen == [(BATCH_SIZE, num_photos), (2 * BATCH_SIZE, num_photos), (num_photos, num_photos)]
    assert encoder.largest_side < 40


def test_no_entries_make_no_gallery():
    gallery, report = embed_entries([], MeanColor())
    assert gallery is None
    assert report.num_added == 0
