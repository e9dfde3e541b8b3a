"""A server from its start to its end: socket, signals, drain.

Owns what uvicorn is told; must not know routes.
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable

from uvicorn import Config
from uvicorn import Server as UvicornServer

from geotoken.errors import InputError
from geotoken.serve.app import App
from geotoken.serve.guards import MAX_HEAD_BYTES
from geotoken.serve.http import Protocol
from geotoken.serve.settings import Settings

_BACKLOG = 512
_KEEP_ALIVE_S = 15


def serve(settings: Settings, on_open: Callable[[str], None] = lambda url: None) -> None:
    """Serve until the process is told to stop; requests under way are answered first.

    Args:
        settings: How.
        on_open: Called with the address of the page when connections are taken; the model may still load.

    Raises:
        InputError: If the address cannot be listened on.
        GeoTokenError: If the model cannot be loaded.
    """
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it quotes what is sent
    with _bind(settings.host, settings.port) as listener:
        app = App(settings, on_failure=lambda: stop())
        server = _server(app, settings, lambda: server.should_exit)

        def stop(*_: object) -> None:
            server.should_exit = True

        # uvicorn has handlers of its own while it runs, and raises what came once more when it has ended.
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            on_open(_url(settings.host, listener))
            asyncio.run(server.serve(sockets=[listener]))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if app.pool.failure is not None:
        raise app.pool.failure


def _server(app: App, settings: Settings, is_stopping: Callable[[], bool]) -> UvicornServer:
    """The application in a server of uvicorn."""
    chosen = {"head_timeout_s": settings.upload_timeout_s, "is_stopping": staticmethod(is_stopping)}
    protocol = type("ChosenProtocol", (Protocol,), chosen)
    return UvicornServer(
        Config(
            app,
            http=protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,  # it would have the query, and so what people look for
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
    )


def _bind(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Raises:
        InputError: If the address is taken or not of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"cannot listen on {host!r:.80} port {port} ({reason}); "
            "choose others (--host, --port; port 0 is any free one)"
        ) from error


def _url(host: str, listener: socket.socket) -> str:
    """The address of the page, as a browser on this machine takes it."""
    port = listener.getsockname()[1]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{local}]:{port}/" if ":" in local else f"http://{local}:{port}/"
