"""`geotoken serve`: the model behind an HTTP API and a page with a map.

Owns its flags; must not know how a request is answered.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from geotoken.cli.errors import exit_codes
from geotoken.cli.options import DEFAULT_MODEL, Debug, GalleryFolder, Head, Json, Model, Offline

API_KEY_VARIABLE = "GEOTOKEN_API_KEY"
"""Environment variable that holds the API key, where `--api-key` would show it to other users."""

_ADDRESS, _LIMITS, _ACCESS = "Address", "Limits", "Access"


def serve(
    model: Model = DEFAULT_MODEL,
    head: Head = None,
    gallery: GalleryFolder = None,
    offline: Offline = False,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.", rich_help_panel=_ADDRESS)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", help="Port; 0 for any that is free.", rich_help_panel=_ADDRESS),
    ] = 8000,
    open_page: Annotated[
        bool,
        typer.Option("--open", metavar="", help="Open the page in the browser.", rich_help_panel=_ADDRESS),
    ] = False,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help=f"What a request to /v1 must bring along; better given as ${API_KEY_VARIABLE}.",
            show_default="none",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            metavar="ORIGIN",
            help="Another page that may ask, such as https://example.org. Repeatable.",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help="Processes that locate photos.",
            show_default="one a CPU, up to 8",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            "--threads", metavar="N", help="CPU threads of the networks in each.", rich_help_panel=_LIMITS
        ),
    ] = 1,
    max_waiting: Annotated[
        int | None,
        typer.Option(
            "--max-waiting",
            metavar="N",
            help="Photos that may wait before others get 429.",
            show_default="one a worker",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_photos: Annotated[
        int,
        typer.Option("--max-photos", metavar="N", help="Photos in a request.", rich_help_panel=_LIMITS),
    ] = 32,
    max_photo_mb: Annotated[
        float,
        typer.Option("--max-photo-mb", metavar="MB", help="Size of a photo.", rich_help_panel=_LIMITS),
    ] = 25,
    max_request_mb: Annotated[
        float,
        typer.Option("--max-request-mb", metavar="MB", help="Size of a request.", rich_help_panel=_LIMITS),
    ] = 100,
    max_megapixels: Annotated[
        float,
        typer.Option(
            "--max-megapixels", metavar="N", help="Width times height of a photo.", rich_help_panel=_LIMITS
        ),
    ] = 100,
    upload_timeout: Annotated[
        float,
        typer.Option(
            "--upload-timeout",
            metavar="SECONDS",
            help="For the headers, then for the body, of a request to come.",
            rich_help_panel=_LIMITS,
        ),
    ] = 30,
    photo_timeout: Annotated[
        float,
        typer.Option(
            "--photo-timeout", metavar="SECONDS", help="For the work on a photo.", rich_help_panel=_LIMITS
        ),
    ] = 10,
    request_timeout: Annotated[
        float,
        typer.Option(
            "--request-timeout",
            metavar="SECONDS",
            help="For the answer, once a request has come.",
            rich_help_panel=_LIMITS,
        ),
    ] = 60,
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain-timeout",
            metavar="SECONDS",
            help="For requests under way to end when the server is told to stop.",
            rich_help_panel=_LIMITS,
        ),
    ] = 30,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve an HTTP API and a page with a map, until it is interrupted.

    Nothing of a photo is stored or logged. The address is printed when it can be asked; the model may still
    load then. Needs the extra serve. The API is told in docs/serve.md.
    """
    with exit_codes(debug):
        from geotoken.cli.terminal import print_json
        from geotoken.serve.settings import Settings

        settings = Settings(
            model=model,
            head=head,
            gallery=_absolute(gallery),
            offline=offline,
            host=host,
            port=port,
            workers=workers,
            threads=threads,
            max_waiting=max_waiting,
            max_photos=max_photos,
            max_photo_mb=max_photo_mb,
            max_request_mb=max_request_mb,
            max_megapixels=max_megapixels,
            upload_timeout_s=upload_timeout,
            photo_timeout_s=photo_timeout,
            request_timeout_s=request_timeout,
            drain_timeout_s=drain_timeout,
            api_key=api_key or os.environ.get(API_KEY_VARIABLE) or None,
            cors_origins=tuple(cors_origin or ()),
        )
        from geotoken.serve.run import serve as run

        def say(url: str) -> None:
            if json:
                print_json({"url": url})
            else:
                print(f"geotoken is at {url}  (Ctrl-C to stop)")
            sys.stdout.flush()
            if open_page:
                typer.launch(url)

        run(settings, say)


def _absolute(folder: Path | None) -> Path | None:
    return None if folder is None else folder.absolute()
