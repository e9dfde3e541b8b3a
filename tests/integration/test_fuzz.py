"""Random and damaged input: only geotoken's own errors come out, in bounded time.

The fast profile runs with all tests; the long one by `HYPOTHESIS_PROFILE=long`.
"""

import io
import json
import os
import signal
import string
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from geotoken import cells
from geotoken.cli import app
from geotoken.errors import ArtifactError, ConfigError, GeoTokenError, ImageError, InputError
from geotoken.evidence import Evidence
from geotoken.exports import Export
from geotoken.exports.formats import FORMATS as FORMATS_OF_RESULTS
from geotoken.files import read_json
from geotoken.gallery import Exclusion, Gallery
from geotoken.gallery.sources import BuildError, open_source
from geotoken.images.embed import Encoder
from geotoken.images.formats import decoder
from geotoken.images.read import read
from geotoken.manifest import verify_manifest, write_manifest
from geotoken.mixture import MixtureConfig, MixtureModel
from geotoken.prior import WorldPrior
from geotoken.regions import Region
from geotoken.tokens import TokenScheme

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
MAX_SECONDS = 20
"""No single example may take longer."""
MAX_MEMORY = 8 << 30
"""More address space is not given, much of which is only reserved."""
MAX_PIXELS = 1_000_000
"""So that a damaged size does not ask for 200 megapixels a thousand times."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF")


def examples(fast: int) -> Callable:
    """So many examples, 100 times as many in the long profile; the same ones each time in the fast one."""
    return settings(
        max_examples=fast * 100 if LONG else fast,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def no_hang():
    """Let an example that waits for something fail."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def fail(number, frame):
        pytest.fail(f"an example takes more than {MAX_SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Let an example that asks for absurd memory fail."""
    resource = pytest.importorskip("resource") if sys.platform == "linux" else None
    if resource is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = [limit for limit in (used + MAX_MEMORY, *before) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def only(kinds: type[Exception] | tuple[type[Exception], ...], run: Callable, *arguments: object) -> object:
    """Run a function of which only these exceptions may come, each in one line; None if one does."""
    if hasattr(signal, "SIGALRM"):
        signal.alarm(MAX_SECONDS)
    try:
        return run(*arguments)
    except kinds as error:
        caught = error
    assert isinstance(caught, GeoTokenError)
    assert str(caught)
    assert "\n" not in str(caught)
    return None


# --- what is given ----------------------------------------------------------------------------------------

floats = st.floats(allow_nan=True, allow_infinity=True)
numbers = st.one_of(
    floats, st.integers(), st.integers(-400, 400), st.sampled_from([0.0, -0.0, 90, 180, 1e-320])
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(
            st.one_of(st.sampled_from(["type", "coordinates", "features"]), st.text(max_size=5)), inner
        ),
    ),
    max_leaves=20,
)


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """Content with bytes changed, cut out, put in, or its end missing."""
    mutated = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if not mutated:
            break
        at = draw(st.integers(0, len(mutated) - 1))
        length = draw(st.integers(1, 16))
        kind = draw(st.sampled_from(["set", "ones", "zeros", "flip", "insert", "delete", "cut", "copy"]))
        if kind == "set":
            mutated[at] = draw(st.integers(0, 255))
        elif kind in ("ones", "zeros"):
            mutated[at : at + length] = bytes([255 * (kind == "ones")]) * len(mutated[at : at + length])
        elif kind == "flip":
            mutated[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            mutated[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "delete":
            del mutated[at : at + length]
        elif kind == "copy":
            source = draw(st.integers(0, len(mutated) - 1))
            mutated[at : at + length] = mutated[source : source + length]
        else:
            del mutated[at:]
    return bytes(mutated)


@st.composite
def mutated_json(draw: st.DrawFn, value: object) -> object:
    """A JSON value with one part replaced by another value."""
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: draw(mutated_json(value[key]))}
    if isinstance(value, list) and value and draw(st.integers(0, 5)):
        i = draw(st.integers(0, len(value) - 1))
        return [*value[:i], draw(mutated_json(value[i])), *value[i + 1 :]]
    return draw(st.one_of(json_values, st.sampled_from([10**400, "\ud800", [], {}, [[]], -1, 1e308])))


# --- tokens and cells -------------------------------------------------------------------------------------


@examples(150)
@given(
    st.integers(-2, 40) | floats, st.integers(-2, 40) | floats, json_values | st.lists(st.integers(-2, 20))
)
def test_tokens(level, group_size, tokens):
    scheme = only(InputError, TokenScheme, level, group_size) or TokenScheme()
    found = only(InputError, scheme.decode, tokens)
    only(InputError, scheme.to_cells, tokens)
    if found is not None:
        lat, lng = found
        assert np.all(np.abs(lat) <= 90)
        assert np.all(np.abs(lng) <= 180)


@examples(150)
@given(json_values | numbers, json_values | numbers)
def test_points(lat, lng):
    tokens = only(InputError, TokenScheme().encode, lat, lng)
    if tokens is not None:
        assert np.asarray(tokens).shape[-1] == 11


@examples(150)
@given(
    st.integers() | st.lists(st.integers(0, 2**64 - 1)) | json_values,
    st.text("0123456789abcdefX", max_size=20),
)
def test_cells(ids, text):
    for function in (cells.level, cells.parent, cells.children, cells.to_lat_lng, cells.to_hex):
        more = (3,) if function is cells.parent else ()
        only(InputError, function, ids, *more)
    only(InputError, cells.from_hex, text)
    only(InputError, TokenScheme().from_cells, ids)


# --- the command line -------------------------------------------------------------------------------------

WORDS = (
    "tokens",
    "encode",
    "decode",
    "models",
    "gallery",
    "info",
    "--level",
    "--group-size",
    "--json",
    "--help",
)


@examples(100)
@given(
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.lists(
        st.sampled_from([*WORDS, "--", "-1", "1,2", "--offline"]) | st.text(max_size=9) | numbers.map(str),
        max_size=4,
    ),
)
def test_arguments(first, rest):
    def run() -> None:
        result = CliRunner().invoke(app, ["tokens", *first, *rest] if len(first) < 2 else [*first, *rest])
        assert result.exit_code in (0, 2, 3), (first, rest, result.stderr)
        for line in result.stderr.splitlines():
            assert line.startswith("error: ")
            assert line.isprintable()

    only((), run)


# --- regions ----------------------------------------------------------------------------------------------

words = st.one_of(
    st.text(max_size=30),
    st.builds(
        "{}={}".format, st.sampled_from(["country", "bbox", "near", " NEAR", "x"]), st.text(max_size=20)
    ),
    st.lists(numbers, min_size=2, max_size=5).map(lambda v: "bbox=" + ",".join(map(str, v))),
    st.lists(numbers, min_size=2, max_size=4).map(lambda v: "near=" + ",".join(map(str, v))),
    st.text(string.ascii_letters, max_size=3).map("country={}".format),
)


@examples(150)
@given(words)
def test_region_in_words(text):
    region = only(InputError, Region.parse, text)
    if region is not None:
        assert bool(region.contains(0, 0)) in (True, False)


DOCUMENT = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {},
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [[0, 0], [20, 0], [20, 20], [0, 20], [0, 0]],
                    [[5, 5], [6, 5], [6, 6], [5, 5]],
                ],
            },
        },
        {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "MultiPolygon", "coordinates": [[[[170, 0], [190, 0], [190, 9], [170, 0]]]]}
            ],
        },
    ],
}
positions = st.tuples(st.floats(-400, 400) | st.integers(-4, 4), st.floats(-95, 95) | st.integers(-4, 4))
rings = st.lists(positions, min_size=3, max_size=8).map(lambda ring: [*map(list, ring), list(ring[0])])
polygons = st.lists(rings, max_size=3).map(lambda ring: {"type": "Polygon", "coordinates": ring})


@examples(150)
@given(json_values | mutated_json(DOCUMENT) | polygons)
def test_region_of_geojson(document):
    if not isinstance(document, dict):
        document = {"type": "Feature", "geometry": document}
    region = only(InputError, Region.geojson, document)
    if region is not None:
        region.relation(cells.from_lat_lng(np.array([1.0, 5.5]), np.array([1.0, 175.0]), 5))
        region.contains(1, 1)
        json.dumps(region.to_geojson(), allow_nan=False)


@examples(60)
@given(mutations(json.dumps(DOCUMENT).encode()))
def test_region_of_a_file(work, content):
    path = work / "area.geojson"
    path.write_bytes(content)
    only(InputError, Region.geojson, path)


# --- photos -----------------------------------------------------------------------------------------------


@cache
def photo(kind: str) -> bytes:
    """A small photo with EXIF."""
    noise = np.random.default_rng(3).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8825] = {1: "S", 2: (33.0, 51.0, 0.0), 3: "E", 4: (151.0, 12.0, 0.0)}
    buffer = io.BytesIO()
    image = Image.fromarray(noise)
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").from_pillow(image).save(buffer, exif=exif.tobytes())
    else:
        image.save(buffer, kind, **({} if kind == "TIFF" else {"exif": exif}))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_photos(kind):
    @examples(120)
    @given(mutations(photo(kind)))
    def check(content):
        found = only(ImageError, lambda: read(content, max_pixels=MAX_PIXELS, min_side=16))
        if found is not None:
            assert found.pixels.dtype == np.uint8
            assert found.pixels.ndim == 3
            assert found.pixels.shape[2] == 3
            assert found.pixels.size
            assert found.gps is None or (abs(found.gps[0]) <= 90 and abs(found.gps[1]) <= 180)

    check()


@examples(200)
@given(st.binary(max_size=64), st.sampled_from([photo("JPEG")[:24], b"\0\0\0\x18ftypmif1", b"II*\0", b""]))
def test_bytes_that_are_no_photo(content, start):
    only(ImageError, decoder, start + content, "it")
    only(ImageError, read, start + content)


# --- models and galleries ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """One folder for all examples."""
    return tmp_path_factory.mktemp("fuzz")


def put(path: Path, content: bytes) -> None:
    """Replace a file in a gallery and seal it again."""
    path.write_bytes(content)
    (path.parent / "manifest.json").unlink(missing_ok=True)
    write_manifest(path.parent, kind="geotoken-gallery", format_version=2)


def use_gallery(folder: Path) -> None:
    gallery = Gallery.load(folder)
    query = np.ones((1, gallery.dim), dtype=np.float32)
    gallery.search(query, 3)
    gallery.search(query, 3, Exclusion(min_duplicate_similarity=0.5))[0].to_evidence()
    gallery.info()
    for _vectors, table in gallery.pieces():
        list(table.id)
    gallery.close()


@pytest.fixture(scope="module")
def galleries(tmp_path_factory) -> dict[str, Path]:
    """Small galleries of every kind."""
    from geotoken.gallery.table import GalleryTable

    random = np.random.default_rng(5)
    num, dim = 40, 8
    rows = [
        {
            "id": f"{i}.jpg",
            "lat": float(i),
            "lng": -float(i),
            "owner": "x" * (i % 3) or None,
            "sha256": f"{i:064x}",
        }
        for i in range(num)
    ]
    vectors = random.normal(size=(num, dim)).astype(np.float32)
    gallery = Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), "tiny")
    folders = {}
    for kind in ("exact", "hnsw", "ivfpq"):
        folders[kind] = tmp_path_factory.mktemp("galleries") / kind
        gallery.save(folders[kind], index=kind)
    return folders


LIMITED = pytest.mark.skipif(
    not hasattr(faiss, "set_deserialization_vector_byte_limit"), reason="this FAISS trusts its files"
)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("exact", "index.faiss"),
        ("exact", "gallery.parquet"),
        ("exact", "gallery.json"),
        pytest.param("hnsw", "index.faiss", marks=LIMITED),
        pytest.param("ivfpq", "index.faiss", marks=LIMITED),
        ("hnsw", "gallery.json"),
        ("hnsw", "vectors.npy"),
        ("hnsw", "rows.npy"),
        ("hnsw", "text.jsonl"),
    ],
)
def test_damaged_galleries(kind, name, galleries):
    folder = galleries[kind]
    content = (folder / name).read_bytes()

    @examples(40)
    @given(mutations(content))
    def check(mutated):
        put(folder / name, mutated)
        only(ArtifactError, use_gallery, folder)

    try:
        check()
    finally:
        put(folder / name, content)
    use_gallery(folder)


@examples(60)
@given(
    mutated_json(
        {"encoder": "tiny", "dim": 8, "num_photos": 40, "index": {"kind": "hnsw", "breadth": 9, "depth": 9}}
    )
)
def test_galleries_described_otherwise(galleries, value):
    folder = galleries["hnsw"]
    content = (folder / "gallery.json").read_bytes()
    put(folder / "gallery.json", json.dumps(value).encode())
    only(ArtifactError, use_gallery, folder)
    put(folder / "gallery.json", content)


@examples(100)
@given(st.data())
def test_manifests(work, data):
    folder = work / "sealed"
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("a", encoding="utf-8")
    (folder / "manifest.json").unlink(missing_ok=True)
    path = write_manifest(folder, kind="k", format_version=1)
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(mutations(path.read_bytes())))
    else:
        path.write_text(json.dumps(data.draw(mutated_json(json.loads(path.read_text())))), encoding="utf-8")
    only(ArtifactError, verify_manifest, folder, "k", 1)


EVIDENCE = Evidence(
    neighbor_lat=np.array([1.0, 2.0]),
    neighbor_lng=np.array([1.0, -2.0]),
    neighbor_rank=np.array([1.0, 2.0]),
    neighbor_similarity=np.array([0.9, -0.5]),
    guess_lat=np.ones(1),
    guess_lng=np.ones(1),
    guess_weight=np.ones(1),
)


@examples(120)
@given(st.data())
def test_parameters_of_a_mixture(work, tiny_mixture, data):
    path = work / "mixture.json"
    tiny_mixture.config.save(path)
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(mutations(path.read_bytes())))
    else:
        path.write_text(json.dumps(data.draw(mutated_json(read_json(path)))), encoding="utf-8")
    config = only((ArtifactError, ConfigError), MixtureConfig.load, path)
    if config is not None:
        model = MixtureModel(config, tiny_mixture.prior)
        memory = model.encode([EVIDENCE])
        assert np.isfinite(model.step(None, memory, memory.new_cache())).all()


@examples(120)
@given(st.data())
def test_tables_of_the_prior(work, tiny_mixture, data):
    path = work / "prior.npz"
    tiny_mixture.prior.save(path)
    path.write_bytes(data.draw(mutations(path.read_bytes())))
    found = only(ArtifactError, WorldPrior.load, path)
    if found is not None:
        MixtureModel(tiny_mixture.config, found).prior.tilt(np.eye(3), [5.0])


@examples(100)
@given(st.data())
def test_descriptions_of_an_encoder(work, tiny_model, data):
    folder = work / "encoder"
    folder.mkdir(exist_ok=True)
    (folder / "encoder.onnx").write_bytes(b"no network")
    content = (tiny_model / "encoder" / "encoder.json").read_bytes()
    if data.draw(st.booleans()):
        content = data.draw(mutations(content))
    else:
        content = json.dumps(data.draw(mutated_json(json.loads(content)))).encode()
    (folder / "encoder.json").write_bytes(content)
    only(ArtifactError, Encoder.load, folder)


# --- tables of photos -------------------------------------------------------------------------------------

TABLE = b'image,lat,lng,owner\n"a,b.jpg",1.5,-2,"x ""y"""\nb.jpg,90,180,\n'
POINTS = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": 5,
            "geometry": {"type": "Point", "coordinates": [1, 2.5]},
            "properties": {"image": "a.jpg", "owner": "x"},
        }
    ],
}


def list_entries(path: Path) -> None:
    source = open_source(path)
    for entry in source.entries():
        if not isinstance(entry, BuildError):
            entry.path.name.encode("utf-8", "surrogatepass")
            json.dumps(entry.columns, ensure_ascii=False).encode()


@examples(150)
@given(mutations(TABLE) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_csv(work, content):
    path = work / "photos.csv"
    path.write_bytes(content)
    only(InputError, list_entries, path)


@examples(150)
@given(json_values | mutated_json(POINTS))
def test_points_of_geojson(work, value):
    path = work / "photos.geojson"
    path.write_text(json.dumps(value), encoding="utf-8")
    only(InputError, list_entries, path)


# --- unfinished and finished runs -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers(tiny_model) -> list[dict]:
    """What `locate --json` prints for a photo that can be located and one that cannot."""
    photos = [str(Path(__file__).parents[2] / "examples" / "himeji-castle.jpg"), "no.jpg"]
    result = CliRunner().invoke(app, ["locate", *photos, "--model", str(tiny_model), "--json"])
    return json.loads(result.stdout)


def go_on(path: Path, answers: list[dict]) -> None:
    export = Export([path], {"a": 1}, resume=True)
    with export:
        waiting = export.plan([answer["image"] for answer in answers])
        for answer in answers:
            if answer["image"] in waiting:
                export.add(answer)
        export.finish()


@pytest.mark.parametrize("ending", [*FORMATS_OF_RESULTS, ".csv.partial.jsonl"])
def test_damaged_runs(ending, answers, tmp_path):
    path = tmp_path / f"out{ending.removesuffix('.partial.jsonl')}"
    damaged = tmp_path / f"out{ending}"
    export = Export([path], {"a": 1})
    with export:
        export.plan([answer["image"] for answer in answers])
        for answer in answers:
            export.add(answer)
        if damaged == path:
            export.finish()
    content = damaged.read_bytes()

    @examples(40)
    @given(mutations(content))
    def check(mutated):
        for file in tmp_path.iterdir():
            file.unlink()
        damaged.write_bytes(mutated)
        only(InputError, go_on, path, answers)

    check()
