import socket

import pytest

from geotoken.errors import InputError
from geotoken.serve import run


@pytest.mark.parametrize(
    ("host", "start"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("localhost", "http://localhost:"),
    ],
)
def test_the_address_of_the_page(host, start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = run._url(host, listener)
        assert url == f"{start}{listener.getsockname()[1]}/"


def test_an_address_of_six_is_in_brackets():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert run._url("::", listener).startswith("http://[::1]:")


@pytest.mark.parametrize("host", ["", "no.such.host.invalid", "256.1.1.1", "192.0.2.1", "a" * 300])
def test_an_address_that_cannot_be_had_is_refused(host):
    with pytest.raises(InputError, match=r"\(--host, --port; port 0"):
        run._bind(host, 0)
