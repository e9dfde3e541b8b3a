import json

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.serve import run
from geotoken.serve.settings import Settings

PARAMETERS = {one.name: one for one in get_command(app).commands["serve"].params}


def test_every_field_of_the_settings_has_a_flag_and_the_same_default():
    defaults = Settings()
    for name in Settings.__dataclass_fields__:
        parameter = PARAMETERS[{"cors_origins": "cors_origin"}.get(name, name.removesuffix("_s"))]
        default = getattr(defaults, name)
        assert parameter.default == (None if default == () else default)


@pytest.fixture
def served(monkeypatch):
    found = []
    monkeypatch.setattr(run, "serve", lambda settings, say: (found.append(settings), say("http://x/")))
    return found


def test_the_flags_reach_the_server(served, tmp_path):
    flags = [
        "--port",
        "0",
        "--workers",
        "3",
        "--gallery",
        tmp_path,
        "--max-photo-mb",
        "7",
        "--upload-timeout",
        "4",
    ]
    result = CliRunner().invoke(app, ["serve", *map(str, flags), "--cors-origin", "https://a.example"])
    assert (result.exit_code, result.stdout) == (0, "geotoken is at http://x/  (Ctrl-C to stop)\n")
    (settings,) = served
    assert (settings.port, settings.workers, settings.gallery) == (0, 3, tmp_path)
    assert (settings.max_photo_mb, settings.upload_timeout_s) == (7, 4)
    assert settings.cors_origins == ("https://a.example",)


def test_the_address_may_be_json(served):
    result = CliRunner().invoke(app, ["serve", "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"url": "http://x/"})


@pytest.mark.parametrize(
    ("flags", "variable", "key"),
    [
        ([], None, None),
        ([], "", None),
        ([], "from-the-environment", "from-the-environment"),
        (["--api-key", "from-the-flag"], "from-the-environment", "from-the-flag"),
    ],
)
def test_the_key_may_come_from_the_environment(served, monkeypatch, flags, variable, key):
    monkeypatch.delenv("GEOTOKEN_API_KEY", raising=False)
    if variable is not None:
        monkeypatch.setenv("GEOTOKEN_API_KEY", variable)
    assert CliRunner().invoke(app, ["serve", *flags]).exit_code == 0
    assert served[0].api_key == key


@pytest.mark.parametrize(
    "flags", [["--port", "70000"], ["--workers", "0"], ["--api-key", "short"], ["--max-photos", "0"]]
)
def test_a_flag_out_of_range_is_one_line(served, flags):
    result = CliRunner().invoke(app, ["serve", *flags])
    assert (result.exit_code, result.stdout, served) == (2, "", [])
    assert flags[0] in result.stderr
