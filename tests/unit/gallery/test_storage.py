import numpy as np
import pytest

from geotoken.errors import ArtifactError
from geotoken.gallery.storage import BLOCK_ROWS, TextFile, TextWriter, VectorFile, write_vectors

TEXTS = [[f"id {i}", None if i % 2 else 'line\nbreak "é" \u2028'] for i in range(50)]


@pytest.fixture
def texts(tmp_path):
    writer = TextWriter(tmp_path / "text.jsonl")
    writer.add(TEXTS[:20])
    writer.add([])
    writer.add(TEXTS[20:])
    return TextFile(tmp_path / "text.jsonl", writer.close(), 2)


def test_vectors_come_back_rounded_to_16_bits_in_any_order(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(BLOCK_ROWS + 10, 3)).astype(np.float32)
    write_vectors(tmp_path / "v.npy", [vectors[:5], vectors[5:]], vectors.shape)
    rounded = vectors.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), rounded)
    file = VectorFile(tmp_path / "v.npy")
    assert file.shape == vectors.shape
    rows = np.array([BLOCK_ROWS + 9, 0, 3, 3])
    np.testing.assert_array_equal(file.take(rows), rounded[rows])
    assert file.take(rows).dtype == np.float32
    blocks = list(file.blocks())
    assert [len(block) for block in blocks] == [BLOCK_ROWS, 10]
    np.testing.assert_array_equal(np.concatenate(blocks), rounded)
    np.testing.assert_array_equal(file.block(2, 4), rounded[2:4])


@pytest.mark.parametrize(
    "array", [None, np.zeros((2, 3)), np.zeros(3, np.float16), np.zeros((3, 2), np.float16).T]
)
def test_other_files_hold_no_vectors(tmp_path, array):
    if array is None:
        (tmp_path / "v.npy").write_bytes(b"vectors")
    else:
        np.save(tmp_path / "v.npy", array)
    with pytest.raises(ArtifactError, match="holds no vectors"):
        VectorFile(tmp_path / "v.npy")
    with pytest.raises(ArtifactError, match="holds no vectors"):
        VectorFile(tmp_path / "nowhere.npy")


def test_texts_come_back_in_any_order(texts):
    assert len(texts) == 50
    for rows in ([7, 0, 49, 7], [3, 4, 5], [8], []):
        assert texts.take(np.array(rows, dtype=np.int64)) == [TEXTS[row] for row in rows]


def test_a_column_is_indexed_like_an_array(texts):
    column, array = texts.column(0), np.array([row[0] for row in TEXTS], dtype=object)
    assert (len(column), column.shape) == (50, (50,))
    assert list(column) == list(array)
    assert column[3] == column[np.int64(3)] == "id 3"
    assert column[-1] == "id 49"
    for index in (np.array([4, 2]), [5, 5], slice(10, 2, -3), array == "id 7", np.array([-1, 0])):
        picked = column[index]
        assert picked.dtype == object
        assert list(picked) == list(array[index])
    assert list(column[np.array([], dtype=np.int64)]) == []
    assert list(texts.column(1)[:2]) == [TEXTS[0][1], None]
    with pytest.raises(IndexError):
        column[50]


@pytest.mark.parametrize("line", ['["a"', "5", "[]", '["a", "b"]', "[5]", "[" * 5000])
def test_lines_that_are_not_texts_are_artifact_errors(tmp_path, line):
    (tmp_path / "text.jsonl").write_text(f'["good"]\n{line}\n')
    file = TextFile(tmp_path / "text.jsonl", np.array([0, 9, 10 + len(line)]), 1)
    assert file.take(np.array([0])) == [["good"]]
    for rows in ([1], [0, 1], [1, 0]):
        with pytest.raises(ArtifactError, match="does not fit its rows"):
            file.take(np.array(rows))


@pytest.mark.parametrize("offsets", [[], [0], [0, 9], [1, 18], [0, 19], [0, 12, 6, 18], [-1, 18]])
def test_texts_that_do_not_fit_their_offsets_are_artifact_errors(tmp_path, offsets):
    (tmp_path / "text.jsonl").write_text('["good"]\n["fine"]\n')
    with pytest.raises(ArtifactError, match="does not fit its rows"):
        TextFile(tmp_path / "text.jsonl", np.array(offsets, dtype=np.int64), 1)


def test_a_missing_text_file_is_an_artifact_error(tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read"):
        TextFile(tmp_path / "nowhere", np.array([0]), 1)
