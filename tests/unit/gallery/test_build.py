import json
import os
import sys

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from geotoken.errors import ArtifactError, InputError
from geotoken.gallery import build
from geotoken.gallery.build import BATCH_SIZE, add_photos, build_gallery, embed_entries, kept_kind
from geotoken.gallery.edit import merge_galleries, reindex_gallery, remove_photos
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
        ("nowhere.png,5,5,", "there is no such file"),
        ("broken.png,5,5,", "the file is damaged"),
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
    assert report.errors[0].image not in report.errors[0].reason
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


@pytest.mark.parametrize("out", ["photos/g", "photos/sub/../new/g", "link/g"])
def test_a_gallery_among_its_photos_is_refused(tmp_path, out):
    photo = make_photo(tmp_path / "photos" / "a.jpg", RED, gps=(60, 60))
    (tmp_path / "link").symlink_to(photo.parent)
    with pytest.raises(InputError, match=r"would lie in .*photos, the folder of photos; put it elsewhere"):
        build_gallery(tmp_path / "photos", MeanColor(), tmp_path / out)
    assert list(photo.parent.iterdir()) == [photo]
    write_csv(photo.parent / "list.csv", "image,lat,lng\na.jpg,1,2\n")
    assert build_gallery(photo.parent / "list.csv", MeanColor(), photo.parent / "g").num_added == 1


def test_photos_come_in_bounded_batches_no_larger_than_needed(tmp_path):
    photos, num_photos = tmp_path / "photos", 2 * BATCH_SIZE + 1
    for i in range(num_photos):
        make_photo(photos / f"{i:02}.jpg", (i, 255 - i, 0), gps=(i + 1, i), size=(400, 300))
    (photos / "05.jpg").write_bytes(b"")
    encoder, seen = MeanColor(), []
    report = build_gallery(
        photos, encoder, tmp_path / "out", progress=lambda done, total: seen.append((done, total))
    )
    assert report.num_added == num_photos - 1
    assert encoder.batch_sizes == [BATCH_SIZE - 1, BATCH_SIZE, 1]
    assert seen == [(BATCH_SIZE, num_photos), (2 * BATCH_SIZE, num_photos), (num_photos, num_photos)]
    assert encoder.largest_side < 40


def test_no_entries_make_no_gallery():
    gallery, report = embed_entries([], MeanColor())
    assert gallery is None
    assert report.num_added == 0


def check_same_folders(a, b):
    """Every file is the same to the byte."""
    assert sorted(path.name for path in a.iterdir()) == sorted(path.name for path in b.iterdir())
    for path in a.iterdir():
        assert path.read_bytes() == (b / path.name).read_bytes(), path.name


class Killed(BaseException):
    """What no code of ours catches, as a killed process is not asked."""


def make_photos(folder, num_photos):
    """Photos of different colors; the fifth is broken, the seventh a copy of the second."""
    for i in range(num_photos):
        make_photo(folder / f"{i:03}.jpg", (i % 250, 250 - i % 250, i // 250), gps=(i + 1, i))
    (folder / "005.jpg").write_bytes(b"")
    (folder / "007.jpg").write_bytes((folder / "002.jpg").read_bytes())
    return folder


@pytest.mark.parametrize("index", ["auto", "ivfpq"])
def test_a_build_killed_anywhere_and_resumed_equals_one_that_was_not(tmp_path, monkeypatch, index):
    monkeypatch.setattr(build, "SHARD_SIZE", 2 * BATCH_SIZE)
    photos = make_photos(tmp_path / "photos", 6 * BATCH_SIZE + 3)
    whole = build_gallery(photos, MeanColor(), tmp_path / "whole", index=index)

    def killed_at(num_batches):
        encoder = MeanColor()
        embed = encoder.embed

        def maybe(pixels, *, for_gallery):
            if len(encoder.batch_sizes) == num_batches:
                raise Killed
            return embed(pixels, for_gallery=for_gallery)

        encoder.embed = maybe
        return encoder

    for num_batches in (1, 3, 2):
        with pytest.raises(Killed):
            build_gallery(photos, killed_at(num_batches), tmp_path / "out", resume=True, index=index)
        assert not (tmp_path / "out").exists()
    encoder, seen = MeanColor(), []
    report = build_gallery(
        photos, encoder, tmp_path / "out", resume=True, index=index, progress=lambda *done: seen.append(done)
    )
    assert report == whole
    assert len(encoder.batch_sizes) == 3  # 2 shards of 2 batches were kept, of 7 batches
    assert [done for done, _ in seen] == [4 * BATCH_SIZE, 5 * BATCH_SIZE, 6 * BATCH_SIZE, 6 * BATCH_SIZE + 3]
    check_same_folders(tmp_path / "whole", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos", "whole"]


def test_a_build_killed_while_the_gallery_is_written_keeps_what_was_embedded(tmp_path, monkeypatch):
    photos = make_photos(tmp_path / "photos", 10)

    def kill(*_arguments, **_more):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_gallery", kill)
        with pytest.raises(Killed):
            build_gallery(photos, MeanColor(), tmp_path / "out")
    with pytest.raises(InputError, match=r"out\.partial is an unfinished build; go on with it \(--resume"):
        build_gallery(photos, MeanColor(), tmp_path / "out")
    encoder = MeanColor()
    assert build_gallery(photos, encoder, tmp_path / "out", resume=True).num_added == 8
    assert encoder.batch_sizes == []


def mend_photo(photos):
    make_photo(photos / "005.jpg", BLUE, gps=(5, 5))


def mend_sidecar(photos):
    write_xmp(photos / "020.jpg.xmp", "10,30N", "20,0W")


def remove_sidecar(photos):
    (photos / "021.xmp").unlink()


def touch_photo(photos):
    os.utime(photos / "039.jpg", ns=(5, 5))


@pytest.mark.parametrize(
    ("change", "num_batches"), [(mend_photo, 3), (mend_sidecar, 2), (remove_sidecar, 2), (touch_photo, 1)]
)
def test_what_was_changed_since_is_read_again_when_a_build_goes_on(
    tmp_path, monkeypatch, change, num_batches
):
    monkeypatch.setattr(build, "SHARD_SIZE", BATCH_SIZE)
    photos = make_photos(tmp_path / "photos", 3 * BATCH_SIZE)
    (photos / "020.jpg.xmp").write_text("torn")
    write_xmp(photos / "021.xmp", "1,0N", "2,0W")

    def kill(*_arguments, **_more):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_gallery", kill)
        with pytest.raises(Killed):
            build_gallery(photos, MeanColor(), tmp_path / "out")
    change(photos)
    encoder = MeanColor()
    report = build_gallery(photos, encoder, tmp_path / "out", resume=True)
    assert len(encoder.batch_sizes) == num_batches
    assert report == build_gallery(photos, MeanColor(), tmp_path / "whole")
    check_same_folders(tmp_path / "whole", tmp_path / "out")


def test_a_resumed_build_of_another_source_is_refused(tmp_path, monkeypatch):
    photos = make_photos(tmp_path / "photos", 10)

    def kill(*_arguments, **_more):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_gallery", kill)
        with pytest.raises(Killed):
            build_gallery(photos, MeanColor(), tmp_path / "out")
    make_photo(photos / "new.jpg", RED, gps=(5, 5))
    with pytest.raises(InputError, match="unfinished build of another source"):
        build_gallery(photos, MeanColor(), tmp_path / "out", resume=True)
    assert build_gallery(photos, MeanColor(), tmp_path / "out", overwrite=True).num_added == 9


def test_geojson_gives_positions(tmp_path):
    make_photo(tmp_path / "a.png", RED)
    feature = {"geometry": {"type": "Point", "coordinates": [2.5, 48.5]}, "properties": {"image": "a.png"}}
    (tmp_path / "p.geojson").write_text(json.dumps({"features": [feature]}))
    build_gallery(tmp_path / "p.geojson", MeanColor(), tmp_path / "out")
    table = Gallery.load(tmp_path / "out").table
    assert (table.id[0], table.lat[0], table.lng[0]) == ("a.png", 48.5, 2.5)


def write_xmp(path, lat, lng):
    path.write_text(
        f'<a xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="{lat}" exif:GPSLongitude="{lng}"/>'
    )


def test_what_a_person_set_last_comes_before_what_the_camera_wrote(tmp_path):
    photos = tmp_path / "photos"
    for name, color, gps in (
        ("all.jpg", RED, (60, 60)),
        ("takeout.jpg", GREEN, None),
        ("exif.jpg", BLUE, (120, 120)),
    ):
        make_photo(photos / name, color, gps=gps)
        geo_data = {"latitude": 30.0, "longitude": 31.0}
        (photos / f"{name}.supplemental-metadata.json").write_text(json.dumps({"geoData": geo_data}))
    write_xmp(photos / "all.xmp", "10,30N", "20,0W")
    assert build_gallery(photos, MeanColor(), tmp_path / "out").errors == []
    table = Gallery.load(tmp_path / "out").table
    assert list(table.id) == ["all.jpg", "exif.jpg", "takeout.jpg"]
    assert list(zip(table.lat, table.lng, strict=True)) == [(10.5, -20), (2, 2), (30, 31)]
    assert list(table.coord_precision) == ["sidecar", "exif", "sidecar"]


def test_a_sidecar_that_cannot_be_read_is_an_error_of_its_photo_alone(tmp_path):
    photos = tmp_path / "photos"
    make_photo(photos / "a.jpg", RED, gps=(60, 60))
    make_photo(photos / "b.jpg", GREEN, gps=(60, 60))
    (photos / "a.jpg.xmp").write_text("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>")
    report = build_gallery(photos, MeanColor(), tmp_path / "out")
    assert report.num_added == 1
    assert [error.image for error in report.errors] == ["a.jpg"]
    assert "its sidecar a.jpg.xmp cannot be read" in report.errors[0].reason


@pytest.mark.parametrize("index", [None, "hnsw"])
def test_added_photos_follow_those_that_are_there(tmp_path, index):
    first, second = tmp_path / "first", tmp_path / "second"
    make_photo(first / "a.jpg", RED, gps=(60, 60))
    make_photo(second / "b.jpg", GREEN, gps=(120, 120))
    (second / "c.jpg").write_bytes((first / "a.jpg").read_bytes())
    make_photo(second / "d.jpg", BLUE)
    build_gallery(first, MeanColor(), tmp_path / "g")
    report = add_photos(tmp_path / "g", second, MeanColor(), index=index)
    assert report.num_added == 1
    assert [(one.image, one.first) for one in report.duplicates] == [("c.jpg", "a.jpg")]
    assert [one.image for one in report.errors] == ["d.jpg"]
    gallery = Gallery.load(tmp_path / "g")
    assert list(gallery.table.id) == ["a.jpg", "b.jpg"]
    assert gallery.index_kind == (index or "exact")
    assert gallery.search(np.array([[0.1, 1, 0.1]], dtype=np.float32), 1)[0].id == ["b.jpg"]
    before = (tmp_path / "g" / "manifest.json").read_bytes()
    again = add_photos(tmp_path / "g", second, MeanColor())
    assert (again.num_added, len(again.duplicates)) == (0, 2)
    assert (tmp_path / "g" / "manifest.json").read_bytes() == before


def test_an_addition_killed_anywhere_leaves_the_gallery_and_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SHARD_SIZE", BATCH_SIZE)
    make_photo(tmp_path / "first" / "a.jpg", RED, gps=(60, 60))
    photos = make_photos(tmp_path / "photos", 2 * BATCH_SIZE)
    build_gallery(tmp_path / "first", MeanColor(), tmp_path / "g")
    encoder = MeanColor()
    embed = encoder.embed

    def once(pixels, *, for_gallery):
        if encoder.batch_sizes:
            raise Killed
        return embed(pixels, for_gallery=for_gallery)

    encoder.embed = once
    with pytest.raises(Killed):
        add_photos(tmp_path / "g", photos, encoder)
    assert Gallery.load(tmp_path / "g").size == 1
    encoder = MeanColor()
    report = add_photos(tmp_path / "g", photos, encoder, resume=True)
    assert len(encoder.batch_sizes) == 1
    assert report.num_added == 2 * BATCH_SIZE - 2
    assert Gallery.load(tmp_path / "g").size == 2 * BATCH_SIZE - 1
    assert not (tmp_path / "g.partial").exists()


def test_photos_of_another_encoder_are_not_added(tmp_path):
    make_photo(tmp_path / "first" / "a.jpg", RED, gps=(60, 60))
    build_gallery(tmp_path / "first", MeanColor(), tmp_path / "g")
    other = MeanColor()
    other.name = "other"
    with pytest.raises(ArtifactError, match='holds vectors of encoder "mean-color"'):
        add_photos(tmp_path / "g", tmp_path / "first", other)
    with pytest.raises(InputError, match="is unknown"):
        add_photos(tmp_path / "g", tmp_path / "first", MeanColor(), index="best")
    assert not (tmp_path / "g.partial").exists()


def test_a_gallery_keeps_the_index_that_was_chosen_for_it(tmp_path):
    make_photo(tmp_path / "first" / "a.jpg", RED, gps=(60, 60))
    for index, kept in (("auto", "auto"), ("exact", "auto"), ("hnsw", "hnsw"), ("ivfpq", "ivfpq")):
        build_gallery(tmp_path / "first", MeanColor(), tmp_path / "g", index=index, overwrite=True)
        assert kept_kind(Gallery.load(tmp_path / "g")) == kept


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_name_that_is_not_unicode_is_an_error_of_its_photo(tmp_path):
    make_photo(tmp_path / "photos" / "a.jpg", RED, gps=(60, 60))
    copy = os.fsencode(make_photo(tmp_path / "photos" / "b.jpg", GREEN, gps=(60, 60)))
    os.rename(copy, copy.replace(b"b.jpg", b"\xff.jpg"))
    report = build_gallery(tmp_path / "photos", MeanColor(), tmp_path / "out")
    assert report.num_added == 1
    assert [error.image for error in report.errors] == [r"'\udcff.jpg'"]


def test_nothing_else_changes_a_gallery_while_photos_are_added(tmp_path):
    pytest.importorskip("fcntl")
    make_photo(tmp_path / "first" / "a.jpg", RED, gps=(60, 60))
    make_photo(tmp_path / "first" / "b.jpg", GREEN, gps=(60, 60))
    make_photo(tmp_path / "second" / "c.jpg", BLUE, gps=(60, 60))
    folder = tmp_path / "g"
    build_gallery(tmp_path / "first", MeanColor(), folder)
    changes = [
        lambda: remove_photos(folder, ids=["a.jpg"]),
        lambda: merge_galleries(folder, [folder, folder], overwrite=True),
        lambda: reindex_gallery(folder, index="hnsw"),
        lambda: add_photos(folder, tmp_path / "second", MeanColor(), resume=True),
        lambda: build_gallery(tmp_path / "second", MeanColor(), folder, overwrite=True),
    ]
    refused = []

    def meanwhile(_done, _total):
        for change in changes:
            with pytest.raises(InputError, match="another run is changing the gallery"):
                change()
            refused.append(change)

    add_photos(folder, tmp_path / "second", MeanColor(), progress=meanwhile)
    assert refused == changes
    assert list(Gallery.load(folder).table.id) == ["a.jpg", "b.jpg", "c.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "g", "second"]
    remove_photos(folder, ids=["a.jpg"])
    assert list(Gallery.load(folder).table.id) == ["b.jpg", "c.jpg"]
