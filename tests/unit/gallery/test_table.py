import numpy as np
import pytest

from geotoken.errors import ArtifactError, InputError
from geotoken.gallery.table import TABLE_NAME, TEXT_COLUMNS, GalleryTable, TableWriter, open_stored


def write(table, path):
    with TableWriter(path.parent) as writer:
        for start in range(0, len(table), 1000):
            writer.add(table.take(np.arange(start, min(start + 1000, len(table)))))
        writer.finish(row_files=False)
    (path.parent / TABLE_NAME).rename(path)


def make_rows(num_rows):
    return [
        {
            "id": f"photo {row}",
            "lat": row % 181 - 90.0,
            "lng": row % 361 - 180.0,
            "owner": None if row % 3 else f'O\'Neil "{row % 7}" é\n;--',
            "attribution": "late"
            if row >= num_rows - 2
            else None,  # a column that starts with many empty values
        }
        for row in range(num_rows)
    ]


@pytest.mark.parametrize(
    "name", ["plain", "sp ace", "o'quote", "st*r", "que?tion", "br[1]acket", "br{a,b}ace", "ünïcode", "a%20b"]
)
def test_a_table_comes_back_as_written_from_a_folder_of_any_name(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    table = GalleryTable.from_rows(make_rows(50))
    write(table, folder / "gallery.parquet")
    read = GalleryTable.read(folder / "gallery.parquet")
    for column in (*TEXT_COLUMNS, "lat", "lng"):
        np.testing.assert_array_equal(getattr(read, column), getattr(table, column))


def test_special_characters_in_a_path_match_only_themselves(tmp_path):
    for name, num_rows in (("gallery[1]", 3), ("gallery1", 4), ("gallery*", 5), ("gallery?", 6)):
        (tmp_path / name).mkdir()
        write(GalleryTable.from_rows(make_rows(num_rows)), tmp_path / name / "g.parquet")
    assert len(GalleryTable.read(tmp_path / "gallery[1]" / "g.parquet")) == 3
    assert len(GalleryTable.read(tmp_path / "gallery*" / "g.parquet")) == 5
    assert len(GalleryTable.read(tmp_path / "gallery?" / "g.parquet")) == 6


def test_many_rows_keep_order_and_empty_columns_stay_text(tmp_path):
    table = GalleryTable.from_rows(make_rows(5000))
    write(table, tmp_path / "g.parquet")
    read = GalleryTable.read(tmp_path / "g.parquet")
    assert list(read.id) == [f"photo {row}" for row in range(5000)]
    assert list(read.attribution) == [None] * 4998 + ["late"] * 2
    assert list(read.license) == [None] * 5000
    assert read.lat.dtype == np.float64


def test_coordinates_keep_every_bit(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"id": str(i), "lat": lat, "lng": lng} for i, (lat, lng) in enumerate(rng.uniform(-90, 90, (200, 2)))
    ]
    table = GalleryTable.from_rows(rows)
    write(table, tmp_path / "g.parquet")
    read = GalleryTable.read(tmp_path / "g.parquet")
    assert np.array_equal(read.lat, [row["lat"] for row in rows])
    assert np.array_equal(read.lng, [row["lng"] for row in rows])


@pytest.mark.parametrize("content", [None, b"", b"not parquet", b"PAR1" * 20])
def test_a_file_that_is_no_parquet_is_an_artifact_error(tmp_path, content):
    path = tmp_path / "g.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match="not the table of a gallery") as caught:
        GalleryTable.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select 'a' as id, 1.0 as lat", "lng"),
        ("select * replace (cast(null as double) as lat) from good", "latitude"),
        ("select * replace (91.0 as lat) from good", "latitude 91"),
        ("select * replace (cast(null as varchar) as id) from good", "no id"),
        ("select * replace ('north' as lat) from good", "north"),
    ],
)
def test_a_table_with_wrong_columns_or_values_is_an_artifact_error(tmp_path, query, message):
    import duckdb

    write(GalleryTable.from_rows(make_rows(2)), tmp_path / "good.parquet")
    with duckdb.connect() as connection:
        connection.from_parquet(str(tmp_path / "good.parquet")).create_view("good")
        connection.sql(query).write_parquet(str(tmp_path / "bad.parquet"))
    with pytest.raises(ArtifactError, match=message):
        GalleryTable.read(tmp_path / "bad.parquet")


def test_a_table_that_cannot_be_written_is_an_artifact_error(tmp_path):
    (tmp_path / "gallery.parquet").mkdir()
    with TableWriter(tmp_path) as writer:
        writer.add(GalleryTable.from_rows(make_rows(2)))
        with pytest.raises(ArtifactError, match="cannot be written"):
            writer.finish(row_files=False)


def test_the_row_files_of_a_big_gallery_say_the_same_as_its_parquet(tmp_path):
    table = GalleryTable.from_rows(make_rows(2500))
    with TableWriter(tmp_path) as writer:
        for start in range(0, 2500, 900):
            writer.add(table.take(np.arange(start, min(start + 900, 2500))))
        writer.finish(row_files=True)
    assert {path.name for path in tmp_path.iterdir()} == {"gallery.parquet", "rows.npy", "text.jsonl"}
    stored, read = open_stored(tmp_path), GalleryTable.read(tmp_path / "gallery.parquet")
    some = np.array([2499, 0, 7, 7])
    for column in (*TEXT_COLUMNS, "lat", "lng"):
        assert list(getattr(stored, column)) == list(getattr(read, column)) == list(getattr(table, column))
        assert list(getattr(stored.take(some), column)) == list(getattr(table, column)[some])
    assert stored.count("attribution") == {"late": 2, "unknown": 2498}


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_row_files_of_another_kind_are_artifact_errors(tmp_path, content):
    (tmp_path / "rows.npy").write_bytes(content)
    with pytest.raises(ArtifactError, match="not the table of a gallery"):
        open_stored(tmp_path)


def test_take_selects_rows_in_order():
    table = GalleryTable.from_rows(make_rows(10)).take(np.array([7, 2, 2]))
    assert list(table.id) == ["photo 7", "photo 2", "photo 2"]
    assert list(table.lat) == [-83.0, -88.0, -88.0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a", "lat": np.nan, "lng": 0}, "latitude nan"),
        ({"id": "a", "lat": 90.001, "lng": 0}, r"latitude 90\.001"),
        ({"id": "a", "lat": 0, "lng": 361}, "longitude 361"),
        ({"lat": 0, "lng": 0}, "row 1 has no id"),
        ({"id": 5, "lat": 0, "lng": 0}, "row 1 has no id"),
    ],
)
def test_impossible_rows_are_input_errors_that_name_the_row(row, message):
    with pytest.raises(InputError, match=message):
        GalleryTable.from_rows([{"id": "good", "lat": 1.0, "lng": 2.0}, row])


def test_longitudes_beyond_180_are_wrapped():
    assert GalleryTable.from_rows([{"id": "fiji", "lat": -18, "lng": 190}]).lng[0] == -170
