"""How the API describes itself where FastAPI cannot read it off the code.

Owns the description of `POST /v1/locate`, whose body is read by hand; must not know what it does.
"""

from typing import Any, Final

from pydantic import BaseModel

from geotoken.serve.errors import body_of
from geotoken.serve.schemas import ErrorReply, LocateRequest


def _error(description: str, code: str, message: str) -> dict[str, Any]:
    """The description of a reply that is none."""
    example = body_of(code, message, "5cbebf0dca4ac6eb")
    content = {"application/json": {"example": example}}
    return {"model": ErrorReply, "description": description, "content": content}


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": _error(
        "The request cannot be answered as it is, or not now (429, with Retry-After).",
        "invalid_option",
        "beam_width: Input should be less than or equal to 100 (given: '1000'); see /openapi.json",
    ),
    "5XX": _error(
        "The server cannot answer.", "not_ready", "the model is being loaded; ask again in a second"
    ),
}
"""What any route may answer but success."""

REPLY: Final[dict[str, Any]] = {
    "model": {"name": "mini", "head": "mixture", "hash": "fbaf4ba6b9ab8684"},
    "results": [
        {
            "image": "beach.jpg",
            "status": "ok",
            "lat": -33.8568,
            "lng": 151.2153,
            "cell": {"hex": "6b12ae665f7", "level": 20},
            "tokens": [3, 5, 8, 9, 5, 7, 3, 3, 2, 15, 11],
            "log_prob": -9.41,
            "radius_km": {"50": 2.1, "90": 410.0},
            "place": {
                "city": "Sydney",
                "admin1": "New South Wales",
                "country": "Australia",
                "country_code": "AU",
                "distance_km": 0.9,
            },
            "levels": [
                {"level": 0, "cell_hex": "7", "probability": 0.93},
                {"level": 20, "cell_hex": "6b12ae665f7", "probability": 8.2e-05},
            ],
            "candidates": [{"lat": -33.8568, "lng": 151.2153, "log_prob": -9.41}],
            "neighbors": [{"id": "71c9", "lat": -33.857, "lng": 151.215, "similarity": 0.81}],
            "warnings": [],
        },
        {
            "image": "notes.txt",
            "status": "error",
            "error": "cannot read the 9065 bytes given: it is text, not a photo",
            "warnings": [],
        },
    ],
}
"""An example of what comes back; shortened."""


REQUEST: Final[dict[str, Any]] = {
    "photos": [{"name": "beach.jpg", "data": "/9j/4AAQSkZJRg=="}],
    "options": {"within": ["country=AU"], "guess": ["-33.86,151.21"], "posterior": True},
}
"""An example of what is sent; the photo is cut."""


def locate_description(options: type[BaseModel]) -> dict[str, Any]:
    """Arguments of the route of `POST /v1/locate`.

    Args:
        options: The schema of the options.

    Returns:
        `summary`, `description`, `responses` and `openapi_extra`.
    """
    properties = options.model_json_schema()["properties"]
    form = {
        "type": "object",
        "required": ["photos"],
        "properties": {
            "photos": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "format": "binary"},
                "description": "JPEG, PNG, WebP, TIFF, AVIF, GIF, or HEIC where the server can read it.",
            },
            "options": {"type": "string", "description": "A JSON object with any of the other fields."},
            **{name: schema for name, schema in properties.items()},
        },
        "additionalProperties": False,
    }
    request = LocateRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    request.pop("$defs", None)
    return {
        "summary": "Tell where photos were taken",
        "description": "One object a photo, in order. Options stand in the query, in fields of the form, or "
        "in the JSON body. A photo that cannot be read is an object with an error beside the others; if none "
        "can, the reply is 422.",
        "responses": {**ERRORS, 200: {"content": {"application/json": {"example": REPLY}}}},
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {"schema": form},
                    "application/json": {"schema": request, "example": REQUEST},
                },
            },
        },
    }
