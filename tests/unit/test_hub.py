import logging
import subprocess
import sys
from pathlib import Path

import pytest

from geotoken import hub
from geotoken.errors import ArtifactError, DependencyError, InputError
from geotoken.hub import HubId
from geotoken.manifest import write_manifest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def need_client():
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner/name", HubId("owner/name")),
        ("o/n", HubId("o/n")),
        ("Me-1/a_b.c", HubId("Me-1/a_b.c")),
        ("owner/name@v1.0", HubId("owner/name", "v1.0")),
        ("owner/name@refs/pr/1", HubId("owner/name", "refs/pr/1")),
        (f"owner/name@{COMMIT}", HubId("owner/name", COMMIT)),
        ("a/" + "b" * 96, HubId("a/" + "b" * 96)),
    ],
)
def test_ids(text, expected):
    assert hub.parse_id(text) == hub.need_id(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "name", "a/b/c", "./b", "../b", "/b", "a/", "a/.b", "-a/b", "a-/b", "a--b/c", "a/b..c", "a/b.git",
        "a b/c", "a/b@", "a/b@-x", "a/b@../x", "a/b\n", "~/models", "C:\\x/y", "a/" + "b" * 97, "é/b",
        "a/b@x@y",
    ],
)  # fmt: skip
def test_what_cannot_be_an_id(text):
    assert hub.parse_id(text) is None
    with pytest.raises(InputError, match="is no model on the hub; give owner/name") as caught:
        hub.need_id(text)
    assert str(caught.value).isprintable()


def test_the_client_takes_every_id_we_take():
    need_client()
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    for text in ("a/b", "Me-1/a_b.c", "a/" + "b" * 96, "0/1"):
        validate_repo_id(text)
    for text in ("a--b/c", "a/b..c", "a/b.git", "a/" + "b" * 97):
        with pytest.raises(HFValidationError):
            validate_repo_id(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"cache/models--me--small/snapshots/{COMMIT}", HubId("me/small", COMMIT)),
        (f"models--me--a-b.c/snapshots/{COMMIT}", HubId("me/a-b.c", COMMIT)),
        (f"cache/datasets--me--small/snapshots/{COMMIT}", None),
        (f"cache/models--small/snapshots/{COMMIT}", None),
        ("cache/models--me--small/snapshots/main", None),
        (f"cache/models--me--small/other/{COMMIT}", None),
        ("small", None),
    ],
)
def test_origin_is_read_off_the_path(path, expected):
    assert hub.origin(Path(path)) == expected


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache as the client lays it out: blobs, snapshots that link to them, and refs."""
    need_client()
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repo = tmp_path / "models--me--small"
    folder = repo / "snapshots" / COMMIT
    (folder / "sub").mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "blobs" / "abc").write_text("content")
    (folder / "sub" / "file").symlink_to("../../../blobs/abc")
    write_manifest(folder, kind="geotoken-model", format_version=1)
    return folder


def test_a_cached_model_is_found_by_branch_and_by_commit(cache):
    assert hub.find_cached(HubId("me/small")) == cache
    assert hub.find_cached(HubId("me/small", "main")) == cache
    assert hub.find_cached(HubId("me/small", COMMIT)) == cache
    assert hub.find_cached(HubId("me/small", "v1")) is None
    assert hub.find_cached(HubId("me/other")) is None


def test_half_a_download_is_not_found(cache):
    (cache / "sub" / "file").unlink()
    assert hub.find_cached(HubId("me/small")) is None
    with pytest.raises(ArtifactError, match=r"offline mode is on .*; .*: geotoken models pull me/small$"):
        hub.download(HubId("me/small"), kind="geotoken-model", max_format_version=1)


def test_a_broken_manifest_is_found_for_the_loader_to_name(cache):
    (cache / "manifest.json").write_text("{")
    assert hub.find_cached(HubId("me/small")) == cache


def test_without_the_client_there_is_nothing(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert hub.find_cached(HubId("me/small")) is None
    for offline in (False, True):
        with pytest.raises(
            DependencyError, match=r"me/small is no folder here.* pip install 'geotoken\[hub\]'"
        ):
            hub.download(HubId("me/small"), kind="geotoken-model", max_format_version=1, offline=offline)
    with pytest.raises(
        DependencyError, match=r"^a push to me/small needs .*; pip install 'geotoken\[hub\]'$"
    ):
        hub.upload(cache, "me/small", files=["sub/file"], card="", message="x")


def front_matter(card):
    yaml = pytest.importorskip("yaml")
    _, text, body = card.split("---\n", 2)
    return yaml.safe_load(text), body


def test_a_card_gets_front_matter_and_no_licence_is_guessed():
    need_client()
    entries, body = front_matter(hub.hub_card("# small\n\nText.\n", "me/small"))
    assert entries["library_name"] == "geotoken"
    assert "image-geolocation" in entries["tags"]
    assert (entries["license"], entries["license_link"]) == ("other", "MODEL_CARD.md")
    assert "base_model" not in entries
    assert body.startswith("\n# small\n\nText.\n")
    assert "geotoken locate photo.jpg --model me/small" in body


def test_front_matter_of_the_card_itself_wins():
    need_client()
    card = "---\nlicense: mit\ntags: [alps, s2]\nbase_model: me/large\nlanguage: en\n---\n# small\n"
    entries, body = front_matter(hub.hub_card(card, "me/small"))
    assert entries["license"] == "mit"
    assert "license_name" not in entries
    assert entries["base_model"] == "me/large"
    assert entries["language"] == "en"
    assert entries["tags"].count("s2") == 1
    assert {"alps", "geotoken"} <= set(entries["tags"])
    assert "license: mit" not in body


@pytest.mark.parametrize("front", ["a: [", "- 1", "tags: : :"])
def test_front_matter_that_is_no_yaml_is_refused(front):
    need_client()
    with pytest.raises(ArtifactError, match="front matter is not valid YAML"):
        hub.hub_card(f"---\n{front}\n---\n# small\n", "me/small")


def test_the_log_level_of_the_client_is_put_back():
    need_client()
    logger = logging.getLogger("huggingface_hub")
    before = logger.level

    def fail():
        with hub._transfer("cannot", HubId("a/b")):
            assert logger.level == logging.ERROR
            raise OSError(28, "No space left on device")

    with pytest.raises(ArtifactError, match=r"^cannot: the disk with .* is full; "):
        fail()
    assert logger.level == before


def test_nothing_of_the_client_is_imported_before_a_hub_id_is_met():
    code = (
        "import sys, geotoken.artifact as a; a.load_artifact('mini');"
        "assert 'huggingface_hub' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
