"""The routes: photos to places, what there is to ask for, how the server is, and the page.

Owns what each address answers; must not know how a photo is located or how bytes travel.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from geotoken.errors import InputError
from geotoken.serve.assets import INDEX, Assets
from geotoken.serve.errors import BUG, Refusal, body_of, code_of
from geotoken.serve.guards import Guard
from geotoken.serve.openapi import ERRORS, locate_description
from geotoken.serve.pool import Pool
from geotoken.serve.schemas import (
    MAX_GUESSES,
    MAX_REGION_BYTES,
    MAX_REGIONS,
    CountriesReply,
    Health,
    LocateReply,
    ModelsReply,
    Options,
)
from geotoken.serve.settings import Settings
from geotoken.serve.uploads import Budget, Upload, UploadLimits, read_upload
from geotoken.serve.worker import Bug, Row, Work, Worker, to_json
from geotoken.version import __version__

_BODIES: Final = 4
"""Bodies of the largest size that are held at a time."""


class App:
    """The ASGI application; its workers start and end with its lifespan."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_failure: Callable[[], None] = lambda: None,
        make_worker: Callable[[], Worker] | None = None,
    ) -> None:
        """Make the application; nothing is started.

        Args:
            settings: How it runs.
            on_failure: Called when the model cannot be loaded.
            make_worker: Makes a handle of a process that is not started; one with the model when None.
        """
        self.pool = Pool(
            make_worker or (lambda: Worker(settings.loaded, max_pixels=settings.pixels)),
            num_workers=settings.num_workers,
            max_waiting=settings.num_waiting,
            photo_timeout_s=settings.photo_timeout_s,
            batch_timeout_s=settings.request_timeout_s,
            on_failure=on_failure,
        )
        self._settings = settings
        self._limits = UploadLimits(
            photos=settings.max_photos,
            photo_bytes=settings.photo_bytes,
            request_bytes=settings.request_bytes,
        )
        self._budget = Budget(_BODIES * settings.request_bytes)
        self._assets = Assets()
        self.api = self._make()
        """The routes, without what every request passes; describes them by `openapi()`."""
        self._app = self._guarded(self.api)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer; see the ASGI specification."""
        await self._app(scope, receive, send)

    def _make(self) -> FastAPI:
        """The application with its routes."""

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            self.pool.start()
            yield
            await self.pool.close()

        app = FastAPI(
            title="geotoken",
            version=__version__,
            description="Where on Earth was this photo taken?",
            docs_url=None,  # their scripts come from elsewhere
            redoc_url=None,
            redirect_slashes=False,
            lifespan=lifespan,
        )
        for kind in (Refusal, HTTPException, RequestValidationError, Exception):
            app.add_exception_handler(kind, _error_reply)
        app.post("/v1/locate", response_model=LocateReply, **locate_description(Options))(self.locate)
        app.get("/v1/models", response_model=ModelsReply, responses=ERRORS, summary="What may be asked for")(
            self.models
        )
        app.get(
            "/v1/countries", response_model=CountriesReply, responses=ERRORS, summary="Countries by code"
        )(self.countries)
        app.get("/healthz", response_model=Health, summary="Whether the server lives")(self.healthz)
        app.get("/readyz", response_model=Health, responses=ERRORS, summary="Whether it has the model")(
            self.readyz
        )
        app.get("/", include_in_schema=False)(self.page)
        app.get("/static/{name:path}", include_in_schema=False)(self.asset)
        return app

    def _guarded(self, app: FastAPI) -> ASGIApp:
        """The application behind what every request passes."""
        settings = self._settings
        guarded = Guard(
            app,
            api_key=settings.api_key,
            upload_timeout_s=settings.upload_timeout_s,
            shared=bool(settings.cors_origins),
        )
        if not settings.cors_origins:
            return guarded
        return _Cors(
            guarded,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After", "X-Request-Id"],
        )

    async def locate(self, request: Request) -> Response:
        """Tell where photos were taken.

        Raises:
            Refusal: If it cannot be told.
        """
        facts = self._facts()
        self.pool.check_room()
        with self._budget.share() as spend:
            upload = await read_upload(
                request.headers,
                request.query_params.multi_items(),
                request.stream(),
                self._limits,
                spend,
            )
            rows = await self._answers(request, upload, facts)
        name = to_json({key: facts[key] for key in ("name", "head", "hash")})
        results = ",".join(row.text for row in rows)
        return Response(f'{{"model":{name},"results":[{results}]}}', media_type="application/json")

    async def _answers(self, request: Request, upload: Upload, facts: dict[str, Any]) -> list[Row]:
        """The object of each photo of the reply.

        Raises:
            Refusal: If there is none, or it took too long.
        """
        if upload.options.select not in facts["selectors"]:
            raise Refusal(
                "invalid_option",
                f"select is {upload.options.select!r}, which the model {facts['name']} cannot do; choose one "
                f"of {', '.join(facts['selectors'])}",
            )
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                outcomes = await _unless_gone(request, self.pool.do(_works(upload)))
        except TimeoutError:
            raise Refusal(
                "timeout",
                f"there is no answer after {self._settings.request_timeout_s:g} s; ask for less at once",
            ) from None
        rows: list[Row] = []
        for outcome in outcomes:
            if isinstance(outcome, InputError):
                raise Refusal("invalid_option", str(outcome))
            if isinstance(outcome, Bug):
                raise Refusal("internal_error", BUG)
            rows += outcome
        failures = [row.error for row in rows if row.error is not None]
        if len(failures) == len(rows):
            which = "" if len(rows) == 1 else f"none of the {len(rows)} photos can be located; the first: "
            raise Refusal("photo_unreadable", which + failures[0])
        return rows

    async def models(self) -> dict[str, Any]:
        """The model, its options with their ranges, and the limits of a request."""
        settings = self._settings
        facts = {
            **self._facts(),
            "version": __version__,
            "defaults": Options().model_dump(),
            "options": Options.model_json_schema(),
            "limits": {
                "max_photos": settings.max_photos,
                "max_photo_bytes": settings.photo_bytes,
                "max_request_bytes": settings.request_bytes,
                "max_pixels": settings.pixels,
                "max_guesses": MAX_GUESSES,
                "max_regions": MAX_REGIONS,
                "max_region_bytes": MAX_REGION_BYTES,
                "request_timeout_s": settings.request_timeout_s,
            },
        }
        return {"models": [facts]}

    async def countries(self) -> dict[str, Any]:
        """Every country and territory that `within` knows as country=CODE."""
        return {"countries": await asyncio.to_thread(_countries)}

    async def healthz(self) -> dict[str, str]:
        """Always ok: whoever answers lives."""
        return {"status": "ok"}

    async def readyz(self) -> dict[str, str]:
        """Ok once the model is loaded."""
        self._facts()
        return {"status": "ok"}

    async def page(self, request: Request) -> Response:
        """The page with the map."""
        return self._assets.reply(INDEX, request)

    async def asset(self, name: str, request: Request) -> Response:
        """A file of the page."""
        return self._assets.reply(name, request)

    def _facts(self) -> dict[str, Any]:
        """What there is to know about the model.

        Raises:
            Refusal: If it is not loaded yet.
        """
        if self.pool.facts is None:
            raise Refusal("not_ready", "the model is being loaded; ask again in a second", retry_after_s=1)
        return self.pool.facts


class _Cors(CORSMiddleware):
    """Lets pages of other origins ask; those that may not are told so in the one shape."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The reply to a browser that asks whether a page may ask."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        message = "this page may not ask that; the operator allows others by --cors-origin"
        return JSONResponse(body_of("bad_request", message), 400)


def _works(upload: Upload) -> list[Work]:
    """The photos of a request as pieces of work."""
    options = upload.options.model_dump()
    if options["together"]:
        return [Work(upload.names, upload.photos, options)]
    return [Work((name,), (photo,), options) for name, photo in zip(upload.names, upload.photos, strict=True)]


def _countries() -> list[dict[str, str]]:
    """Codes and names; the borders are loaded for that, so not on the loop."""
    from geotoken.regions.countries import countries

    return [{"code": one.alpha2, "name": one.name} for one in countries()]


async def _unless_gone(request: Request, doing: Any) -> Any:
    """Do something as long as the client is there.

    Raises:
        Refusal: If it left; nobody reads that.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    work, leaving = asyncio.ensure_future(doing), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Refusal("request_timeout", "the client has closed the connection")
        return work.result()
    finally:
        work.cancel()
        leaving.cancel()


async def _error_reply(request: Request, error: Exception) -> JSONResponse:
    """An exception in the one shape."""
    request_id = request.scope.get("state", {}).get("request_id")
    if isinstance(error, Refusal):
        return JSONResponse(body_of(error.code, str(error), request_id), error.status, error.headers)
    if isinstance(error, HTTPException):
        code, headers = code_of(error.status_code), dict(error.headers or {})
        message = {
            404: "there is no such page; the API is described by /openapi.json",
            405: f"{request.method} is not allowed here; allowed: {headers.get('Allow', 'others')}",
        }.get(error.status_code, str(error.detail))
        return JSONResponse(body_of(code, message, request_id), error.status_code, headers)
    if isinstance(error, RequestValidationError):
        return JSONResponse(body_of("bad_request", str(error), request_id), 400)
    return JSONResponse(body_of("internal_error", BUG, request_id), 500)  # it is raised once more, and logged
