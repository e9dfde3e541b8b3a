import dataclasses

import pytest

from geotoken.errors import ImageError
from geotoken.pipeline import Failure, Locator

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202e\n.jpg"


@pytest.fixture(scope="package")
def prediction(tiny_model, examples):
    return Locator.from_pretrained(tiny_model).locate(str(examples / "himeji-castle.jpg"))


@pytest.fixture(scope="package")
def hostile(prediction):
    """An answer in which every text that comes from outside attacks the page."""
    near = prediction.neighbors
    urls = ["javascript:alert(1)", 'https://a.example/"onclick="alert(1)', *[None] * (len(near) - 2)]
    return dataclasses.replace(
        prediction,
        image=HOSTILE,
        warnings=(HOSTILE,),
        neighbors=dataclasses.replace(
            near,
            attribution=[HOSTILE] * len(near),
            license=["<b>"] * len(near),
            source_url=urls,
        ),
    )


@pytest.fixture
def failed():
    return Failure(HOSTILE, ImageError(f"cannot read {HOSTILE}"))
