"""How the API describes itself where FastAPI cannot read it off the code.

Owns the description of `POST /v1/locate`, whose body is read by hand; must not know what it does.
"""

from typing import Any, Final

from pydantic import BaseModel

from geotoken.serve.schemas import ErrorReply, LocateRequest

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ErrorReply, "description": "The request cannot be answered as it is."},
    "5XX": {"model": ErrorReply, "description": "The server cannot answer now."},
}
"""What any route may answer but success."""


def locate_description(options: type[BaseModel]) -> dict[str, Any]:
    """Arguments of the route of `POST /v1/locate`.

    Args:
        options: The schema of the options.

    Returns:
        `summary`, `responses` and `openapi_extra`.
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
        "responses": ERRORS,
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {"schema": form},
                    "application/json": {"schema": request},
                },
            },
        },
    }
