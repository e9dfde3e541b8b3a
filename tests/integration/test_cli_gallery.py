"""`geotoken gallery` and `geotoken models` by Typer's runner, with the bundled encoder."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.gallery import Gallery
from geotoken.images.embed import Encoder


@pytest.fixture
def run(tiny_model):
    """Run a command of `gallery` on the tiny model; the exit code is checked."""

    def invoke(*arguments: object, code: int = 0):
        result = CliRunner(env={"COLUMNS": "160"}).invoke(
            app, ["gallery", *map(str, arguments), "--model", str(tiny_model)]
        )
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture
def source(examples, tmp_path):
    """A folder with two good photos, one of them twice, a file that is no photo, and their table."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("taj-mahal-agra.jpg", "himeji-castle.jpg"):
        shutil.copy(examples / name, folder)
    shutil.copy(folder / "himeji-castle.jpg", folder / "again.jpg")
    (folder / "bad.jpg").write_text("no photo", encoding="utf-8")
    lines = ["image,lat,lng", "taj-mahal-agra.jpg,27.2,78.0", "himeji-castle.jpg,34.8,134.7", "again.jpg,1,2"]
    (folder / "good.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "mixed.csv").write_text("\n".join([*lines, "bad.jpg,1,2"]), encoding="utf-8")
    (folder / "bad.csv").write_text("image,lat,lng\nbad.jpg,1,2\n", encoding="utf-8")
    return folder


def test_the_table_of_the_examples_gives_credits_and_names_what_it_did_not_use(run, examples, tmp_path):
    built = run("build", examples / "attribution.csv", "--out", tmp_path / "g").stdout
    assert built.splitlines()[1] == "columns not used: title, source_image"
    table = Gallery.load(tmp_path / "g").table
    assert "Gorgo" in table.attribution
    assert None not in [*table.attribution, *table.license, *table.source_url]


def test_a_gallery_is_built_and_searched(run, source, tmp_path):
    built = json.loads(run("build", source / "good.csv", "--out", tmp_path / "g", "--json").stdout)
    assert built == {
        "folder": str(tmp_path / "g"),
        "num_added": 2,
        "errors": [],
        "duplicates": [{"image": "again.jpg", "first": "himeji-castle.jpg"}],
    }
    photo = source / "taj-mahal-agra.jpg"
    found = json.loads(run("search", photo, "--gallery", tmp_path / "g", "-k", "5", "--json").stdout)
    assert found["image"] == str(photo)
    assert [one["id"] for one in found["neighbors"]] == ["taj-mahal-agra.jpg", "himeji-castle.jpg"]
    assert found["neighbors"][0]["similarity"] > 0.98  # not 1: gallery photos have views of their own
    text = run("search", photo, "--gallery", tmp_path / "g", "-k", "1").stdout
    assert "0.98" in text
    assert "27.2000° N, 78.0000° E" in text
    assert "Uttar Pradesh" in text
    assert "Japan" not in text


def test_a_gallery_grows(run, source, tmp_path, examples):
    run("build", source / "good.csv", "--out", tmp_path / "g", "--index", "hnsw")
    added = json.loads(run("add", tmp_path / "g", examples / "attribution.csv", "--json").stdout)
    assert (added["num_added"], added["errors"]) == (6, [])
    assert sorted(one["first"] for one in added["duplicates"]) == [
        "himeji-castle.jpg",
        "taj-mahal-agra.jpg",
    ]
    gallery = Gallery.load(tmp_path / "g")
    assert (gallery.size, gallery.index_kind) == (8, "hnsw")
    found = json.loads(
        run("search", examples / "himeji-castle.jpg", "--gallery", tmp_path / "g", "--json").stdout
    )
    assert found["neighbors"][0]["id"] == "himeji-castle.jpg"
    assert len(found["neighbors"]) == 8
    text = run("add", tmp_path / "g", source / "mixed.csv", "--index", "exact", code=4)
    assert text.stdout.startswith("0 photos added to the gallery")
    assert text.stderr.startswith("error: bad.jpg: it is text, not a photo; ")


def test_a_build_can_be_resumed_and_says_so(run, source, tmp_path, monkeypatch):
    def interrupt(*_arguments, **_more):
        raise KeyboardInterrupt

    arguments = ("build", source / "good.csv", "--out", tmp_path / "g")
    with monkeypatch.context() as patch:
        patch.setattr("geotoken.gallery.build.write_gallery", interrupt)
        stopped = run(*arguments, code=130)
    assert stopped.stderr == (
        "error: interrupted: 3 of 3 photos are kept; the same command with --resume goes on from there\n"
    )
    assert "go on with it (--resume" in run(*arguments, code=2).stderr
    run(*arguments, "--resume")
    assert Gallery.load(tmp_path / "g").size == 2
    assert not (tmp_path / "g.partial").exists()


def test_an_interrupted_build_says_how_much_is_kept(run, source, tmp_path, monkeypatch):
    monkeypatch.setattr("geotoken.gallery.build.BATCH_SIZE", 1)
    monkeypatch.setattr("geotoken.gallery.build.SHARD_SIZE", 2)
    embed, calls = Encoder.embed, []

    def interrupted_at(number):
        calls.clear()

        def replacement(self, photos, **options):
            calls.append(photos)
            if len(calls) == number:
                raise KeyboardInterrupt
            return embed(self, photos, **options)

        return replacement

    lines = ["image,lat,lng", "taj-mahal-agra.jpg,1,2", "bad.jpg,1,2", "himeji-castle.jpg,3,4"]
    (source / "three.csv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ("build", source / "three.csv", "--out", tmp_path / "g")
    for number, text in ((1, "interrupted;"), (2, "interrupted: 2 of 3 photos are kept;")):
        monkeypatch.setattr(Encoder, "embed", interrupted_at(number))
        stopped = run(*arguments, "--overwrite", code=130)
        assert stopped.stderr == f"error: {text} the same command with --resume goes on from there\n"
    monkeypatch.setattr(Encoder, "embed", interrupted_at(1))
    stopped = run(*arguments, "--resume", code=130)
    assert "interrupted: 2 of 3 photos are kept;" in stopped.stderr


def test_errors_of_a_build_are_listed_and_exit_code_4(run, source, tmp_path):
    result = run("build", source / "mixed.csv", "--out", tmp_path / "g", code=4)
    assert result.stdout.startswith("2 photos in the gallery ")
    assert "left out: again.jpg is the same file as himeji-castle.jpg" in result.stdout
    assert result.stderr.startswith("error: bad.jpg: it is text, not a photo; ")
    assert Gallery.load(tmp_path / "g").size == 2
    result = run("build", source / "mixed.csv", "--out", tmp_path / "h", "--json", code=4)
    assert [one["image"] for one in json.loads(result.stdout)["errors"]] == ["bad.jpg"]


@pytest.mark.parametrize("name", ["bad.csv", "missing", ""])
def test_a_build_of_nothing_is_exit_code_2(run, source, tmp_path, name):
    result = run("build", source / name, "--out", tmp_path / "g", code=2)
    assert result.stdout == ""
    assert not (tmp_path / "g").exists()


def test_a_gallery_is_replaced_only_when_told(run, source, tmp_path):
    arguments = ("build", source / "good.csv", "--out", tmp_path / "g")
    run(*arguments)
    assert "already is a gallery" in run(*arguments, code=2).stderr
    run(*arguments, "--overwrite")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    run("build", source / "good.csv", "--out", tmp_path / "other", "--overwrite", code=2)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_search_without_a_gallery_takes_the_models(run, examples):
    found = json.loads(run("search", examples / "himeji-castle.jpg", "--json").stdout)
    assert found["neighbors"][0]["id"] == "himeji-castle.jpg"


def test_search_tells_what_is_no_photo(run, source):
    result = run("search", source / "bad.jpg", "--json", code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: cannot read ")
    assert "k is 0" in run("search", source / "himeji-castle.jpg", "-k", "0", code=2).stderr


def test_models_info_verifies_and_tells(tiny_model):
    facts = json.loads(CliRunner().invoke(app, ["models", "info", str(tiny_model), "--json"]).stdout)
    assert facts["verified"] is True
    assert facts["gallery"]["num_photos"] == 8
    assert facts["encoder"]["name"] == facts["gallery"]["encoder"]
    assert facts["model_card"].endswith("MODEL_CARD.md")
    text = CliRunner().invoke(app, ["models", "info", str(tiny_model)], env={"COLUMNS": "300"}).stdout
    for part in ("tiny", "8 photos", "sha256", facts["model_card"], facts["encoder"]["license"], "GeoNames"):
        assert part in text
