import pytest
from starlette.requests import Request

from geotoken.serve.assets import Assets
from geotoken.serve.errors import Refusal


def asked(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


@pytest.fixture
def assets(tmp_path):
    (tmp_path / "lib").mkdir()
    for name in ("index.html", "lib/map.js", "style.css", "font.woff2", "world.json", "notes.secret"):
        (tmp_path / name).write_bytes(name.encode())
    return Assets(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("lib/map.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("font.woff2", "font/woff2"),
        ("world.json", "application/json"),
    ],
)
def test_a_file_has_its_type(assets, name, kind):
    reply = assets.reply(name, asked())
    assert (reply.status_code, reply.body, reply.headers["content-type"]) == (200, name.encode(), kind)
    assert reply.headers["cache-control"] == "no-cache"


def test_a_file_that_the_client_has_is_not_sent_again(assets):
    etag = assets.reply("style.css", asked()).headers["etag"]
    for known in (etag, f'"x", W/{etag}'):
        reply = assets.reply("style.css", asked(if_none_match=known))
        assert (reply.status_code, reply.body) == (304, b"")
    assert assets.reply("style.css", asked(if_none_match='"x"')).status_code == 200
    assert assets.reply("index.html", asked(if_none_match=etag)).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["", "nothing.js", "notes.secret", "../index.html", "/etc/passwd", "lib", "lib/", "lib//map.js", "a\0"],
)
def test_there_is_nothing_else(assets, name):
    with pytest.raises(Refusal) as refused:
        assets.reply(name, asked())
    assert refused.value.status == 404


def test_a_file_that_comes_later_is_not_seen(assets, tmp_path):
    (tmp_path / "new.js").write_text("1")
    with pytest.raises(Refusal):
        assets.reply("new.js", asked())
