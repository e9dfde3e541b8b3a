import json
import os
import shutil
import sys
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.features import FeatureStore, embed_source, open_items
from geotoken.features.sources import Item
from geotoken.images.read import read

GOOD = [number for number in range(20) if number not in (7, 11)]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_vectors_belong_to_their_photos(photos_csv, make_encoder, tmp_path):
    encoders = {"image": make_encoder("one"), "location": make_encoder("two", scale=0.5)}
    seen = []
    report = embed_source(
        open_items(photos_csv), encoders, tmp_path / "store", shard_items=6, split="train",
        progress=lambda *done: seen.append(done),
    )  # fmt: skip
    assert report.num_rows == 18
    assert [one.image for one in report.failures] == ["7.png", "photos.csv line 13"]
    assert seen[-1] == (20, 20)
    store = FeatureStore.open(tmp_path / "store")
    table = store.table(np.arange(18))
    assert table["id"].tolist() == [f"{number}.png" for number in GOOD]
    batch = store.batch(np.arange(18))
    for row, number in enumerate(GOOD):
        photo = read(photos_csv.parent / f"{number}.png")
        expected = make_encoder().embed([photo.pixels])[0]
        np.testing.assert_allclose(batch["image"][row], expected, atol=1e-3)
        np.testing.assert_allclose(batch["location"][row], expected / 2, atol=1e-3)
        assert table["sha256"][row] == photo.sha256
        assert table["split"][row] == ("val" if number % 5 == 0 else "train")
        assert table["owner"][row] == f"owner-{number % 3}"
    np.testing.assert_array_equal(store.lat, GOOD)
    failures = (tmp_path / "store" / "failures.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["image"] for line in failures] == ["7.png", "photos.csv line 13"]


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_a_killed_process_goes_on_to_the_same_store(photos_csv, make_encoder, tmp_path, stop_after):
    source = open_items(photos_csv)
    embed_source(source, {"image": make_encoder()}, tmp_path / "whole", shard_items=5)

    class Killed(make_encoder):
        def embed(self, photos, *, for_gallery=False):
            if self.num_calls == stop_after:
                raise KeyboardInterrupt
            return super().embed(photos, for_gallery=for_gallery)

    with pytest.raises(KeyboardInterrupt):
        embed_source(source, {"image": Killed()}, tmp_path / "stopped", shard_items=5)
    with pytest.raises(InputError, match="--resume"):
        embed_source(source, {"image": make_encoder()}, tmp_path / "stopped", shard_items=5)
    encoder = make_encoder()
    report = embed_source(source, {"image": encoder}, tmp_path / "stopped", resume=True, shard_items=5)
    assert report.num_rows == 18
    assert len(report.failures) == 2
    assert encoder.num_calls == 4 - stop_after
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
    again = embed_source(source, {"image": encoder}, tmp_path / "stopped", resume=True, shard_items=5)
    assert (again, encoder.num_calls) == (report, 4 - stop_after)


def test_another_dtype_is_not_resumed(photos_csv, make_encoder, tmp_path):
    source = open_items(photos_csv)

    class Killed(make_encoder):
        def embed(self, photos, *, for_gallery=False):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_source(source, {"image": Killed()}, tmp_path / "store", shard_items=5)
    other = make_encoder()
    other.dtype = "bfloat16"
    with pytest.raises(InputError, match="another --dtype"):
        embed_source(source, {"image": other}, tmp_path / "store", resume=True, shard_items=5)
    embed_source(source, {"image": make_encoder()}, tmp_path / "store", resume=True, shard_items=5)
    with pytest.raises(InputError, match="already is a feature store"):
        embed_source(source, {"image": other}, tmp_path / "store", resume=True, shard_items=5)


def test_an_id_counts_once(photos_csv, make_encoder, tmp_path):
    text = photos_csv.read_text(encoding="utf-8")
    photos_csv.write_text(text + "3.png,50,50,,\n", encoding="utf-8")
    report = embed_source(
        open_items(photos_csv), {"image": make_encoder()}, tmp_path / "store", shard_items=4
    )
    assert report.failures[-1].reason == "its id came before; ids must be unique"
    assert report.num_rows == 18


def test_positions_from_exif_in_folders_and_tars(examples, make_encoder, make_tar, tmp_path):
    with_gps = tmp_path / "in"
    with_gps.mkdir()
    shutil.copy(examples / "taj-mahal-agra.jpg", with_gps / "plain.jpg")
    (with_gps / "plain.jpg.xmp").write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        'exif:GPSLatitude="27,10.5N" exif:GPSLongitude="78,2.5E"/></x:xmpmeta>',
        encoding="utf-8",
    )
    embed_source(open_items(with_gps), {"image": make_encoder()}, tmp_path / "store")
    store = FeatureStore.open(tmp_path / "store")
    np.testing.assert_allclose([store.lat[0], store.lng[0]], [27.175, 78.041667], atol=1e-5)
    tar = make_tar("t.tar", [("a.jpg", (examples / "taj-mahal-agra.jpg").read_bytes())])
    with pytest.raises(InputError, match="no GPS position"):
        embed_source(open_items(tar), {"image": make_encoder()}, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "none.partial").exists()


@pytest.mark.parametrize("name", ["", "Image", "a/b", "a.b", "1a"])
def test_names_of_modalities(photos_csv, make_encoder, tmp_path, name):
    with pytest.raises(InputError, match="modality"):
        embed_source(open_items(photos_csv), {name: make_encoder()}, tmp_path / "store")


def test_shards_of_nothing(photos_csv, make_encoder, tmp_path):
    with pytest.raises(InputError, match="shard-size"):
        embed_source(open_items(photos_csv), {"image": make_encoder()}, tmp_path / "store", shard_items=0)


def test_numbers_that_are_not_finite_are_refused(photos_csv, make_encoder, tmp_path):
    with pytest.raises(InputError, match=r"not finite.*--dtype float32"):
        embed_source(open_items(photos_csv), {"image": make_encoder(scale=np.inf)}, tmp_path / "store")


@pytest.mark.skipif(sys.platform != "linux", reason="only there a name may be any bytes")
def test_a_name_that_is_no_text_is_a_failure(photos_csv, make_encoder, make_png, tmp_path):
    shutil.copy(photos_csv.parent / "1.png", os.fsencode(tmp_path) + b"/\xff.png")
    (tmp_path / "photos").rename(tmp_path / "all")
    source = open_items(tmp_path / "all" / "photos.csv")
    odd = Item(id="\udcff.png", photo=tmp_path / os.fsdecode(b"\xff.png"), position=(1.0, 2.0))
    more = replace(source, num_items=21, items=lambda: chain(source.items(), [odd]))
    report = embed_source(more, {"image": make_encoder()}, tmp_path / "store")
    assert report.num_rows == 18
    assert report.failures[-1].image == "'\\udcff.png'"
    assert len(FeatureStore.open(tmp_path / "store")) == 18
