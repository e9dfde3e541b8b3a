import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from geotoken.errors import ArtifactError, InputError
from geotoken.gallery.index import Gallery
from geotoken.gallery.table import GalleryTable
from geotoken.gallery.write import FORMAT_VERSION, KIND
from geotoken.manifest import write_manifest

N, D = 30, 6


def make_gallery(num_rows=N, encoder_name="fake-6"):
    vectors = np.random.default_rng(0).normal(size=(num_rows, D)).astype(np.float32) * 3
    rows = [
        {
            "id": f"p{row}",
            "lat": row - 10.0,
            "lng": 5.0 * row - 100,
            "coord_precision": "city" if row < 4 else None,
        }
        for row in range(num_rows)
    ]
    return Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), encoder_name)


@pytest.fixture
def folder(tmp_path):
    make_gallery().save(tmp_path / "my gallery")
    return tmp_path / "my gallery"


def remake_manifest(folder):
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)


def test_vectors_are_scaled_to_length_1():
    np.testing.assert_allclose(np.linalg.norm(make_gallery().vectors, axis=1), 1.0, atol=1e-6)


def test_a_saved_gallery_comes_back_the_same(folder):
    gallery, loaded = make_gallery(), Gallery.load(folder)
    assert (loaded.size, loaded.dim, loaded.encoder_name) == (N, D, "fake-6")
    np.testing.assert_array_equal(loaded.vectors, gallery.vectors)
    np.testing.assert_array_equal(loaded.table.id, gallery.table.id)
    queries = np.random.default_rng(1).normal(size=(4, D)).astype(np.float32)
    for a, b in zip(loaded.search(queries, 7), gallery.search(queries, 7), strict=True):
        np.testing.assert_array_equal(a.row, b.row)
        np.testing.assert_array_equal(a.similarity, b.similarity)


def test_the_folder_holds_four_files_readable_by_others(folder):
    assert {path.name for path in folder.iterdir()} == {
        "index.faiss",
        "gallery.parquet",
        "gallery.json",
        "manifest.json",
    }
    assert [path.name for path in folder.parent.iterdir()] == ["my gallery"]
    assert folder.stat().st_mode & 0o777 == 0o755
    config = json.loads((folder / "gallery.json").read_text())
    assert (config["encoder"], config["dim"], config["num_photos"]) == ("fake-6", D, N)


def test_a_gallery_inside_another_artifact_loads_by_its_own_manifest(tmp_path):
    make_gallery().save(tmp_path / "model" / "gallery")
    write_manifest(tmp_path / "model", kind="geotoken-model", format_version=1)
    assert Gallery.load(tmp_path / "model" / "gallery").size == N


def test_info_describes_the_gallery(folder):
    info = Gallery.load(folder).info()
    assert info == {
        "num_photos": N,
        "dim": D,
        "index": "exact inner product, float32",
        "encoder": "fake-6",
        "bbox": [-100.0, -10.0, 45.0, 19.0],
        "coord_precision": {"city": 4, "unknown": N - 4},
        "size_bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }
    assert make_gallery().info()["size_bytes"] is None
    json.dumps(info)


def test_another_encoder_is_refused(folder):
    gallery = Gallery.load(folder)
    gallery.check_encoder("fake-6", D)
    for name, dim in (("other", D), ("fake-6", D + 1)):
        with pytest.raises(
            ArtifactError, match=r'my gallery holds vectors of encoder "fake-6" \(6 numbers\)'
        ):
            gallery.check_encoder(name, dim)


@pytest.mark.parametrize("name", ["index.faiss", "gallery.parquet", "gallery.json"])
def test_a_missing_truncated_or_changed_file_is_named(folder, name):
    path, content = folder / name, (folder / name).read_bytes()
    path.write_bytes(content[:-2])
    with pytest.raises(ArtifactError, match=f"{name} has .* bytes instead of"):
        Gallery.load(folder)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=f"{name} was changed"):
        Gallery.load(folder)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        Gallery.load(folder)
    remake_manifest(folder)
    with pytest.raises(ArtifactError, match=f"has no {name}"):
        Gallery.load(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.faiss", b""),
        ("index.faiss", b"IxFI" + b"\xff" * 64),
        ("gallery.parquet", b"PAR1"),
        ("gallery.json", b"{}"),
        ("gallery.json", b"[]"),
        ("gallery.json", b"{"),
    ],
)
def test_a_file_of_another_kind_is_refused_even_with_a_right_hash(folder, name, content):
    (folder / name).write_bytes(content)
    remake_manifest(folder)
    with pytest.raises(ArtifactError, match=r"not a gallery|not the table of a gallery") as caught:
        Gallery.load(folder)
    assert "\n" not in str(caught.value)


@pytest.fixture
def big(tmp_path):
    """A folder as a big gallery has it."""
    make_gallery().save(tmp_path / "big", index="ivfpq")
    return tmp_path / "big"


def test_a_big_gallery_comes_back_the_same_but_for_16_bits(big):
    gallery, loaded = make_gallery(), Gallery.load(big)
    assert (loaded.size, loaded.dim, loaded.encoder_name, loaded.index_kind) == (N, D, "fake-6", "ivfpq")
    np.testing.assert_allclose(loaded.vectors, gallery.vectors, atol=5e-4)
    for name in ("id", "owner", "coord_precision", "lat", "lng"):
        assert list(getattr(loaded.table, name)) == list(getattr(gallery.table, name))
    query = np.random.default_rng(1).normal(size=(1, D)).astype(np.float32)
    a, b = loaded.search(query, 7)[0], gallery.search(query, 7)[0]
    assert (list(a.row), a.id) == (list(b.row), b.id)
    assert loaded.info()["coord_precision"] == {"city": 4, "unknown": N - 4}
    assert re.fullmatch(r"IVF-PQ, 1 of 1 lists, \d+ candidates compared exactly", loaded.info()["index"])


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivfpq"])
def test_vectors_of_single_rows_are_the_stored_ones(tmp_path, kind):
    gallery = make_gallery()
    gallery.save(tmp_path / "g", index=kind)
    loaded = Gallery.load(tmp_path / "g")
    rows = np.array([3, 0, N - 1, 3])
    found = loaded.vectors_of(rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, gallery.vectors[rows], atol=0 if kind == "exact" else 5e-4)
    assert loaded.vectors_of(np.empty(0, np.int64)).shape == (0, D)
    for wrong in ([N], [-1], [[0]]):
        with pytest.raises(InputError, match=f"from 0 to {N - 1}"):
            loaded.vectors_of(np.array(wrong))


def test_a_gallery_in_memory_is_exact_whatever_it_is_saved_as(tmp_path):
    gallery = make_gallery()
    gallery.save(tmp_path / "g", index="hnsw")
    assert gallery.index_kind == "exact"
    assert Gallery.load(tmp_path / "g").index_kind == "hnsw"


def test_pieces_are_the_rows_in_order(big):
    ((vectors, table),) = Gallery.load(big).pieces()
    assert (vectors.shape, len(table)) == ((N, D), N)
    assert isinstance(table.id, np.ndarray)


def test_a_closed_gallery_lets_go_of_its_files(big):
    gallery = Gallery.load(big)
    gallery.close()
    with pytest.raises(ValueError, match="closed file"):
        gallery.vectors  # noqa: B018
    with pytest.raises(ValueError, match="closed file"):
        gallery.table.id[0]


@pytest.mark.parametrize("name", ["vectors.npy", "rows.npy", "text.jsonl"])
def test_a_damaged_file_of_a_big_gallery_is_refused(big, name):
    (big / name).write_bytes((big / name).read_bytes()[:-3])
    with pytest.raises(ArtifactError, match=f"{name} has .* bytes instead of"):
        Gallery.load(big)
    remake_manifest(big)
    with pytest.raises(ArtifactError, match="again"):
        Gallery.load(big).vectors  # noqa: B018
    (big / name).unlink()
    remake_manifest(big)
    with pytest.raises(ArtifactError, match=f"has no {name}"):
        Gallery.load(big)


@pytest.mark.parametrize(
    "index",
    [5, [], {}, {"kind": "best", "breadth": 1, "depth": 1}, {"kind": "ivfpq", "breadth": 0, "depth": 1}],
)
def test_an_index_that_is_described_wrongly_is_refused(big, index):
    config = json.loads((big / "gallery.json").read_text())
    (big / "gallery.json").write_text(json.dumps(config | {"index": index}))
    remake_manifest(big)
    with pytest.raises(ArtifactError, match="is not a gallery"):
        Gallery.load(big)


def test_parts_of_different_galleries_are_refused(folder, tmp_path):
    make_gallery(N - 1).save(tmp_path / "smaller")
    shutil.copy(tmp_path / "smaller" / "gallery.parquet", folder)
    remake_manifest(folder)
    with pytest.raises(ArtifactError, match="does not fit together: 30 vectors of 6 numbers, 29 rows"):
        Gallery.load(folder)


def test_a_newer_or_foreign_folder_is_refused(folder):
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION + 1)
    with pytest.raises(ArtifactError, match="newer geotoken"):
        Gallery.load(folder)
    write_manifest(folder, kind="geotoken-model", format_version=1)
    with pytest.raises(ArtifactError, match='is "geotoken-model"'):
        Gallery.load(folder)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 3)), "2 vectors and 3 table rows"),
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((3, 0)), r"shape \(3, 0\)"),
        (np.array([[1.0, 2], [0, 0], [1, 1]]), "gallery vector 1 is zero"),
        (np.array([[1.0, 2], [1, 1], [1, np.nan]]), "gallery vector 2 is zero or not finite"),
    ],
)
def test_vectors_that_do_not_fit_are_input_errors(vectors, message):
    table = GalleryTable.from_rows([{"id": str(row), "lat": 0, "lng": 0} for row in range(3)])
    with pytest.raises(InputError, match=message):
        Gallery.from_vectors(vectors, table, "fake")


def test_an_empty_gallery_is_an_input_error():
    with pytest.raises(InputError, match="at least one photo"):
        Gallery.from_vectors(np.empty((0, 4)), GalleryTable.from_rows([]), "fake")


def test_impossible_searches_are_input_errors():
    gallery, queries = make_gallery(), np.ones((2, D), dtype=np.float32)
    with pytest.raises(InputError, match="have 5 numbers; this gallery has 6"):
        gallery.search(np.ones((2, 5)), 3)
    with pytest.raises(InputError, match="k is 0"):
        gallery.search(queries, 0)
    with pytest.raises(InputError, match="1 exclusions for 2 queries"):
        gallery.search(queries, 3, [None])
    with pytest.raises(InputError, match="query vector 1 is zero or not finite"):
        gallery.search(np.array([[1.0] * D, [np.inf] * D]), 3)
    with pytest.raises(InputError, match="query vectors have shape"):
        gallery.search(queries[0], 3)


def test_importing_the_gallery_loads_neither_faiss_nor_duckdb():
    script = (
        "import sys, geotoken.gallery; print(sorted({'faiss', 'duckdb', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
