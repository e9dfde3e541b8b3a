"""Models from and to a hub: a server on this machine that speaks the part of the protocol the client uses."""

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geotoken import Locator
from geotoken.artifact import load_artifact, pull_from_hub, push_to_hub, save_artifact
from geotoken.backbones.load import find_backbone
from geotoken.cli import app
from geotoken.errors import ArtifactError, DependencyError, InputError
from geotoken.tokens import TokenScheme
from hub_server import TOKEN, Hub, Repo

client = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
constants = pytest.importorskip("huggingface_hub.constants")

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with nothing in it; the client knows no other, and an empty cache."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        for name, value in environment(server, tmp_path).items():
            monkeypatch.setenv(name, value)
        # What the client made of its environment when it was first imported, by whichever test.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(socket, "getaddrinfo", loopback_only(socket.getaddrinfo))
        monkeypatch.setattr(time, "sleep", lambda _: None)  # between the client's attempts
        monkeypatch.chdir(tmp_path)
        client.close_session()
        yield server
        server.shutdown()
        thread.join()
    client.close_session()


def loopback_only(resolve):
    def guard(host, *arguments, **options):
        assert host in ("127.0.0.1", b"127.0.0.1"), f"a test wants to reach {host}"
        return resolve(host, *arguments, **options)

    return guard


def environment(server, tmp_path):
    return {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_CACHE": str(tmp_path / "home" / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN": TOKEN,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


@pytest.fixture
def model(tmp_path):
    """A small folder that passes for a model; its parts cannot be loaded."""
    folder = tmp_path / "model"
    (folder / "mixture").mkdir(parents=True)
    (folder / "mixture" / "prior.npz").write_bytes(bytes(range(256)) * 300)
    (folder / "mixture" / "mixture.json").write_text("{}")
    (folder / "MODEL_CARD.md").write_text("# small\n\nA köy.\r\n", newline="")
    (folder / ".notes").write_text("not for others")
    save_artifact(folder, name="small", scheme=TokenScheme(12, 3), head="mixture")
    return folder


@pytest.fixture
def published(hub, model):
    """The small model on the hub as me/small."""
    return push_to_hub(model, "me/small").revision


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"README.md", ".notes"}
    }


def line_of(result, code):
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_model_comes_back_bit_for_bit(hub, model):
    pushed = push_to_hub(model, "me/small", message="first")
    assert hub.repos["me/small"].refs == {"main": pushed.revision}
    artifact = pull_from_hub("me/small")
    assert content(artifact.folder) == content(model)
    assert str(artifact.origin) == f"me/small@{pushed.revision}"
    assert artifact.folder.name == pushed.revision
    assert artifact.card() == load_artifact(model).card()


def test_the_hub_gets_a_card_with_front_matter(hub, published):
    files = hub.repos["me/small"].files("main")
    assert set(files) == {
        "MODEL_CARD.md", "README.md", "config.json", "manifest.json", "mixture/mixture.json",
        "mixture/prior.npz",
    }  # fmt: skip
    card = files["README.md"].decode()
    assert card.startswith("---\n")
    assert "library_name: geotoken\n" in card
    assert "license: other\n" in card
    assert "# small" in card
    assert "--model me/small" in card


def test_only_what_the_manifest_names_is_downloaded(hub, published):
    repo = hub.repos["me/small"]
    extra = {"run.py": b"raise SystemExit", "weights.pkl": b"\x80", "mixture/other.bin": b"1"}
    repo.commit({**repo.files("main"), **extra})
    pull_from_hub("me/small")
    assert set(hub.downloads()) == set(repo.files("main")) - set(extra)


def test_a_name_with_wildcards_is_one_file(hub, model):
    (model / "mixture" / "*").write_text("star")
    save_artifact(model, name="small", scheme=TokenScheme(12, 3), head="mixture")
    push_to_hub(model, "me/small")
    repo = hub.repos["me/small"]
    repo.commit({**repo.files("main"), "mixture/evil.py": b""})
    pull_from_hub("me/small")
    assert "mixture/evil.py" not in hub.downloads()


def test_a_second_pull_downloads_nothing_and_a_newer_revision_only_what_changed(hub, model, published):
    pull_from_hub("me/small")
    hub.requests.clear()
    pull_from_hub("me/small")
    assert hub.downloads() == []
    (model / "MODEL_CARD.md").write_text("# better\n")
    save_artifact(model, name="small", scheme=TokenScheme(12, 3), head="mixture")
    newer = push_to_hub(model, "me/small").revision
    assert load_artifact("me/small").origin.revision == published  # what is in the cache holds until a pull
    hub.requests.clear()
    assert pull_from_hub("me/small").origin.revision == newer
    assert set(hub.downloads()) == {"MODEL_CARD.md", "README.md", "manifest.json"}
    assert load_artifact("me/small").origin.revision == newer
    assert load_artifact(f"me/small@{published}").card() == "# small\n\nA köy.\r\n".replace("\r", "")


def test_branches_tags_and_commits(hub, published):
    repo = hub.repos["me/small"]
    files = repo.files("main")
    tag = repo.commit({**files, "README.md": b"tagged"}, "v1.0")
    assert pull_from_hub("me/small@v1.0").origin.revision == tag
    assert pull_from_hub(f"me/small@{published}").origin.revision == published
    assert load_artifact("me/small@v1.0", offline=True).origin.revision == tag


def test_first_use_downloads_and_later_uses_need_no_network(hub, published, monkeypatch):
    assert load_artifact("me/small").name == "small"
    hub.requests.clear()
    hub.status = 500
    assert load_artifact("me/small").name == "small"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_artifact("me/small", offline=True).name == "small"
    assert hub.requests == []


@pytest.mark.parametrize("by_flag", [True, False])
def test_offline_and_not_there(by_flag, hub, published, monkeypatch):
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", not by_flag)
    message = line_of(run("models", "info", "me/small", *["--offline"] * by_flag), 3)
    assert "offline mode is on" in message
    assert message.endswith("geotoken models pull me/small\n")
    with pytest.raises(ArtifactError, match="offline mode is on"):
        Locator.from_pretrained("me/small", offline=by_flag)
    assert hub.requests == []


def test_push_and_pull_offline(hub, model, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "unset HF_HUB_OFFLINE" in line_of(run("models", "push", model, "me/small"), 3)
    assert "offline mode is on" in line_of(run("models", "pull", "me/small"), 3)
    assert hub.requests == []


def test_a_name_then_a_folder_then_the_hub(hub, published, tmp_path, model):
    assert load_artifact("mini").origin is None
    shutil.copytree(model, tmp_path / "me" / "small")
    assert load_artifact("me/small").origin is None
    shutil.rmtree(tmp_path / "me" / "small")
    hub.requests.clear()
    with pytest.raises(
        ArtifactError, match=r"neither bundled \(mini\) nor a folder; .*geotoken models pull me/small"
    ):
        load_artifact("me/small")  # the folder `me` is there: a slip
    assert hub.requests == []
    assert pull_from_hub("me/small").name == "small"  # said outright
    assert load_artifact("me/small").origin.revision == published


# --- what goes wrong ---


def test_no_such_model(hub):
    message = line_of(run("models", "pull", "me/none"), 3)
    assert "cannot pull me/none: " in message
    assert "no such model, or it is private" in message


def test_no_such_revision(hub, published):
    assert "it has no revision v9" in line_of(run("models", "pull", "me/small@v9"), 3)
    assert "it has no revision" in line_of(run("models", "pull", "me/small@" + "0" * 40), 3)


def test_private_and_gated(hub, published, monkeypatch):
    hub.repos["me/small"].private = True
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "hf auth login" in line_of(run("models", "pull", "me/small"), 3)
    hub.repos["me/small"] = Repo(gated=True)
    assert "it is gated; accept its terms" in line_of(run("models", "pull", "me/small"), 3)


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "log in"), (403, r"refuses access \(403\)"), (500, "500")]
)
def test_statuses(status, reason, hub, published):
    hub.status = status
    assert re.search(reason, line_of(run("models", "pull", "me/small"), 3))


def test_no_network(hub, monkeypatch, model):
    with Hub() as gone:
        pass
    monkeypatch.setattr(constants, "ENDPOINT", gone.url)
    assert "cannot be reached" in line_of(run("models", "pull", "me/small"), 3)
    assert "cannot be reached" in line_of(run("models", "push", model, "me/small"), 3)


def test_a_pull_does_not_take_the_cache_for_an_answer(hub, published):
    pull_from_hub("me/small")
    hub.status = 503
    assert "503" in line_of(run("models", "pull", "me/small"), 3)


def test_no_geotoken_model(hub):
    hub.repos["me/other"] = Repo()
    hub.repos["me/other"].commit({"model.bin": b"1", "README.md": b""})
    assert "no geotoken model, for it has no manifest.json" in line_of(run("models", "pull", "me/other"), 3)
    hub.repos["me/other"].commit({"manifest.json": b'{"format": "other", "format_version": 1}'})
    assert 'is "other", not "geotoken-model"' in line_of(run("models", "pull", "me/other"), 3)
    assert "model.bin" not in hub.downloads()


def test_a_manifest_that_reaches_outside_is_refused(hub, published):
    repo = hub.repos["me/small"]
    manifest = json.loads(repo.files("main")["manifest.json"])
    manifest["files"]["../../evil"] = {"sha256": "0", "bytes": 0}
    repo.commit({**repo.files("main"), "manifest.json": json.dumps(manifest).encode()})
    assert "outside the folder; do not trust it" in line_of(run("models", "pull", "me/small"), 3)


def test_other_content_than_the_manifest_says(hub, published):
    hub.spoilt.add("mixture/prior.npz")
    message = line_of(run("models", "pull", "me/small"), 3)
    assert "mixture/prior.npz is not what its manifest says" in message
    assert hub.downloads().count("mixture/prior.npz") == 2
    hub.spoilt.clear()
    assert pull_from_hub("me/small").name == "small"


@pytest.mark.parametrize("name", ["mixture/prior.npz", "manifest.json"])
def test_a_damaged_cache_is_reported_and_mended_by_a_pull(name, hub, published):
    folder = pull_from_hub("me/small").folder
    path = (folder / name).resolve()
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    message = line_of(run("models", "info", "me/small"), 3)
    assert message.endswith(f"geotoken models pull me/small@{published}\n")
    hub.requests.clear()
    assert pull_from_hub("me/small").folder == folder
    assert hub.downloads() == [name]
    assert path.read_bytes() == whole


def test_a_transfer_cut_short_goes_on(hub, published):
    hub.cut["mixture/prior.npz"] = 1
    try:
        artifact = pull_from_hub("me/small")
    except ArtifactError:  # 1.0 of the client leaves it to the next pull, later ones try again by themselves
        artifact = pull_from_hub("me/small")
    assert artifact.name == "small"
    assert hub.downloads().count("mixture/prior.npz") == 2


def test_an_interrupted_pull_goes_on_with_the_next_file(hub, published, monkeypatch):
    from huggingface_hub import file_download

    true_get, calls = file_download.http_get, []

    def get(url, *arguments, **options):
        calls.append(url)
        if "prior.npz" in url:
            raise KeyboardInterrupt
        return true_get(url, *arguments, **options)

    monkeypatch.setattr(file_download, "http_get", get)
    assert run("models", "pull", "me/small").exit_code == 130
    line_of(run("models", "info", "me/small", "--offline"), 3)
    monkeypatch.setattr(file_download, "http_get", true_get)
    before = set(hub.downloads())
    hub.requests.clear()
    assert pull_from_hub("me/small").name == "small"
    assert "mixture/prior.npz" in hub.downloads()
    assert not set(hub.downloads()) & before


def test_a_full_disk(hub, published, monkeypatch):
    from huggingface_hub import file_download

    def get(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", get)
    message = line_of(run("models", "pull", "me/small"), 3)
    assert "is full; free space or set HF_HOME" in message


@pytest.mark.parametrize(
    "name", ["small", "a/b/c", "../x", "-a/b", "a/b@", "a--b/c", "a/b.git", "a/" + "b" * 100]
)
def test_a_malformed_id_is_a_usage_error(name, hub, model):
    assert "is no model on the hub; give owner/name" in line_of(run("models", "pull", "--", name), 2)
    assert "is no model on the hub; give owner/name" in line_of(run("models", "push", "--", model, name), 2)
    assert hub.requests == []


def test_push_checks_what_it_is_given(hub, model, tmp_path):
    assert "has a revision" in line_of(run("models", "push", model, "me/small@main"), 2)
    assert "--message" in line_of(run("models", "push", model, "me/small", "--message", " "), 2)
    assert "neither bundled" in line_of(run("models", "push", tmp_path / "none", "me/small"), 3)
    (model / "config.json").write_text("{}")
    assert "config.json" in line_of(run("models", "push", model, "me/small"), 3)
    assert hub.requests == []


def test_push_without_the_right_to(hub, model, monkeypatch):
    assert "refuses access (403)" in line_of(run("models", "push", model, "you/small"), 3)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "log in" in line_of(run("models", "push", model, "me/small"), 3)
    assert hub.repos == {}


def test_private_means_private(hub, model):
    assert run("models", "push", model, "me/secret", "--private").exit_code == 0
    assert hub.repos["me/secret"].private
    push_to_hub(model, "me/open")
    before = hub.repos["me/open"].refs["main"]
    assert "exists and is public" in line_of(run("models", "push", model, "me/open", "--private"), 3)
    assert hub.repos["me/open"].refs["main"] == before


def test_a_card_that_would_hide_ours_is_refused(hub, model):
    (model / "README.md").write_text("mine")
    save_artifact(model, name="small", scheme=TokenScheme(12, 3), head="mixture")
    assert "lists README.md" in line_of(run("models", "push", model, "me/small"), 3)


def test_without_the_extra(hub, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for arguments in (
        ["pull", "me/small"],
        ["push", model, "me/small"],
        ["info", "me/small"],
        ["info", "me/small", "--offline"],
    ):
        assert "pip install 'geotoken[hub]'" in line_of(run("models", *arguments), 2)
    with pytest.raises(DependencyError, match=r"geotoken\[hub\]"):
        Locator.from_pretrained("me/small")
    with pytest.raises(InputError):
        pull_from_hub("small")


def test_json(hub, model):
    pushed = json.loads(run("models", "push", model, "me/small", "--json").stdout)
    assert pushed["hub_id"] == "me/small"
    pulled = json.loads(run("models", "pull", "me/small", "--json").stdout)
    assert {key: pulled[key] for key in ("hub_id", "revision")} == {
        key: pushed[key] for key in ("hub_id", "revision")
    }
    assert run("models", "pull", f"me/small@{pushed['revision']}").stdout.startswith("name      small")


def test_a_whole_model_in_processes_of_their_own(hub, tiny_model, tmp_path, examples):
    """Push, pull, and locate offline, through the client's environment variables alone."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment(hub, tmp_path)}

    def call(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", "geotoken", *map(str, arguments)],
            env={**env, **more}, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=tmp_path, check=False,
        )  # fmt: skip

    pushed = call("models", "push", tiny_model, "me/tiny", "--json")
    assert (pushed.returncode, pushed.stderr) == (0, "")
    pulled = call("models", "pull", "me/tiny", "--json")
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert json.loads(pulled.stdout)["revision"] == json.loads(pushed.stdout)["revision"]
    photo = sorted(examples.glob("*.jpg"))[0]
    hub.requests.clear()
    info = json.loads(call("models", "info", "me/tiny", "--json", HF_HUB_OFFLINE="1").stdout)
    assert info["revision"] == json.loads(pushed.stdout)["revision"]
    here = call("locate", photo, "--model", tiny_model, "--json")
    there = call("locate", photo, "--model", "me/tiny", "--json", HF_HUB_OFFLINE="1")
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == json.loads(here.stdout)
    assert hub.requests == []


@pytest.fixture
def geoclip_parts(monkeypatch):
    """Random parts in place of GeoCLIP's own; a tiny CLIP as its authors would publish it, by file name."""
    torch = pytest.importorskip("torch", reason="the extra backbones is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")
    from geotoken.backbones.network import GeoClip, LocationEncoder, ProjectionHead

    encoder = LocationEncoder(num_frequencies=4, width=8, num_hidden=1, dim=16)
    parts = GeoClip(encoder, ProjectionHead([16, 16]), 20.0)
    monkeypatch.setattr("geotoken.backbones.network.load_geoclip", lambda package: parts)
    monkeypatch.setattr("geotoken.assembly.read_points", lambda package: torch.rand(100, 2).double().numpy())
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    config = transformers.CLIPConfig(
        vision_config={**small, "image_size": 32, "patch_size": 16},
        text_config={**small, "vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1},
        projection_dim=16,
    )
    pixels = {"size": 32, "crop_size": 32, "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    with tempfile.TemporaryDirectory() as folder:
        transformers.CLIPModel(config).save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return {**files, "preprocessor_config.json": json.dumps(pixels).encode(), "pytorch_model.bin": b"pickle"}


def test_geoclip_is_assembled_from_the_hubs_clip(hub, geoclip_parts, monkeypatch, tmp_path, examples):
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "home" / "assets"))
    photo = examples / "himeji-castle.jpg"
    assert "geotoken models pull geoclip" in line_of(run("locate", photo, "--model", "geoclip"), 3)
    assert "openai/clip-vit-large-patch14" in line_of(run("models", "pull", "geoclip"), 3)
    hub.repos["openai/clip-vit-large-patch14"] = Repo()
    commit = hub.repos["openai/clip-vit-large-patch14"].commit(geoclip_parts)
    pulled = run("models", "pull", "geoclip", "--heads", tmp_path, "--json")
    assert pulled.exit_code == 0, pulled.output
    assert "pytorch_model.bin" not in hub.downloads()
    facts = json.loads(run("models", "info", "geoclip", "--json").stdout)
    assert facts["encoder"]["source"].startswith(f"openai/clip-vit-large-patch14@{commit}")
    assert facts["encoder"]["license"] == "MIT; MIT"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_backbone("clip").name == commit
    located = run("locate", photo, "--model", "geoclip", "--json")
    assert located.exit_code == 0, located.output


def test_geoclip_without_a_network(hub, geoclip_parts, monkeypatch, tmp_path):
    with Hub() as gone:
        pass
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "home" / "assets"))
    monkeypatch.setattr(constants, "ENDPOINT", gone.url)
    assert "cannot be reached" in line_of(run("models", "pull", "geoclip"), 3)
    assert "for geoclip only" in line_of(run("models", "pull", "me/small", "--out", tmp_path / "x"), 2)
