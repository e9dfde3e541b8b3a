"""What a worker does with photos: bytes and options in, JSON objects out.

Owns how options of a request become those of a `Locator`; must not know HTTP or processes.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from geotoken import places
from geotoken.artifact import CONFIG_NAME, HEADS, find_model
from geotoken.decoding import DecodingOptions
from geotoken.errors import InputError
from geotoken.evidence import parse_guess
from geotoken.files import read_json
from geotoken.manifest import MANIFEST_NAME
from geotoken.pipeline import BATCH_SIZE, Failure, LocateOptions, Locator
from geotoken.prediction import Prediction, error_to_dict
from geotoken.regions import Region, countries
from geotoken.selection import METHODS
from geotoken.serve.layers import layers
from geotoken.serve.worker import Outcome, Row, Work, to_json


class Answerer:
    """A locator that takes work from requests."""

    def __init__(self, loaded: Mapping[str, Any], *, max_pixels: int) -> None:
        """Load the model.

        Args:
            loaded: What `Locator.from_pretrained` gets.
            max_pixels: Largest width times height of a photo.

        Raises:
            GeoTokenError: If it cannot be loaded.
        """
        self._locator = Locator.from_pretrained(**loaded)
        self._locator.max_pixels = max_pixels
        self._folder = find_model(loaded["model"], offline=True)
        self._head = loaded["head"] or read_json(self._folder / CONFIG_NAME)["head"]
        self._gallery = loaded["gallery"]
        self._locator.locate(_small_photo())  # the first photo takes longer: let it not be a user's

    def describe(self) -> dict[str, Any]:
        """What there is to know about the model.

        Returns:
            The fields of `schemas.ModelFacts` that are the model's own.
        """
        locator, scheme = self._locator, self._locator.model.scheme
        digest = hashlib.sha256(self._head.encode())
        for folder in (self._folder, self._gallery):
            if folder is not None and (folder / MANIFEST_NAME).is_file():
                digest.update((folder / MANIFEST_NAME).read_bytes())
        parts = {"similarity": locator.alignment, "reward": locator.reward}
        return {
            "name": locator.name,
            "head": self._head,
            "hash": digest.hexdigest()[:16],
            "heads": [head for head in HEADS if (self._folder / head).is_dir()],
            "selectors": [method for method in METHODS if parts.get(method, True) is not None],
            "levels": [scheme.level_at(num_tokens) for num_tokens in range(1, scheme.length + 1)],
            "num_gallery_photos": locator.gallery.size,
            "encoder": {
                "name": locator.encoder.name,
                "source": locator.encoder.source,
                "license": locator.encoder.license,
            },
            "credits": [
                {"of": what, "source": about["source"], "license": about["license"]}
                for what, about in (("names of places", places.about()), ("borders", countries.about()))
            ],
        }

    def answer(self, batch: Sequence[Work]) -> Iterator[tuple[int, Outcome]]:
        """Do a batch of work: photos are looked up together and answered one by one.

        Args:
            batch: Work of any requests.

        Yields:
            The place in the batch and the outcome, once for each piece.
        """
        understood: dict[int, LocateOptions] = {}
        for place, work in enumerate(batch):
            try:
                options = locate_options(work.options)
                self._locator.check(options)
            except InputError as error:
                yield place, error
            else:
                understood[place] = options
        joint = [place for place in understood if batch[place].is_joint]
        single = [place for place in understood if not batch[place].is_joint]
        for start in range(0, len(single), BATCH_SIZE):
            places = single[start : start + BATCH_SIZE]
            answers = self._locator.locate_each(
                [batch[place].photos[0] for place in places], [understood[place] for place in places]
            )
            for place, answer in zip(places, answers, strict=True):
                yield place, [_row(batch[place].names[0], answer, batch[place].options)]
        for place in joint:
            work = batch[place]
            answers_of_all = self._locator.locate_together(work.photos, understood[place])
            yield (
                place,
                [
                    _row(name, answer, work.options)
                    for name, answer in zip(work.names, answers_of_all, strict=True)
                ],
            )


def locate_options(options: Mapping[str, Any]) -> LocateOptions:
    """The options of a request as those of a locator.

    Args:
        options: The fields of `schemas.Options`.

    Returns:
        The options.

    Raises:
        InputError: If one cannot be used; no text among them is taken for a path.
    """
    regions = [one if isinstance(one, Region) else _region(one) for one in options["within"]]
    return LocateOptions(
        decoding=DecodingOptions(
            decoder=options["decoder"],
            beam_width=options["beam_width"],
            num_samples=options["samples"],
            temperature=options["temperature"],
            top_k=options["sample_top_k"],
            top_p=options["sample_top_p"],
            seed=options["seed"],
            num_candidates=options["top_k"],
            max_expansions=options["max_expansions"],
        ),
        select=options["select"],
        guesses=tuple(parse_guess(text) for text in options["guess"]),
        within=Region.union(regions) if regions else None,
    )


def _region(value: str | Mapping[str, Any]) -> Region:
    """A region as the request has it; a mapping is GeoJSON."""
    return _named_region(value) if isinstance(value, str) else Region.geojson(value)


@lru_cache(maxsize=64)
def _named_region(text: str) -> Region:
    """A region in the words of the command line, which may not name a file."""
    return Region.parse(text, files=False)


def _row(name: str, answer: Prediction | Failure, options: Mapping[str, Any]) -> Row:
    """A photo's object of the reply."""
    if isinstance(answer, Failure):
        message = str(answer.error)
        return Row(to_json(error_to_dict(name, message)), message)
    found = answer.to_dict(options["top_k"])
    found["image"] = name
    if options["posterior"]:
        found["posterior"] = layers(answer.posterior, answer.levels)
    return Row(to_json(found))


def _small_photo() -> bytes:
    """A grey photo in memory."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 48), "grey").save(file, "JPEG")
    return file.getvalue()
