import json

import numpy as np
import pytest

from geotoken.errors import ArtifactError, InputError
from geotoken.gallery.shards import Shards


def fill(folder):
    shards = Shards.open(folder, "same", resume=False, discard=False)
    for number in range(3):
        rows = [{"id": f"{number}-{i}"} for i in range(number)]
        shards.append(np.full((number, 2), number, dtype=np.float32), {"rows": rows})
    return shards


def test_parts_come_back_in_order(tmp_path):
    fill(tmp_path / "g.partial")
    shards = Shards.open(tmp_path / "g.partial", "same", resume=True, discard=False)
    assert shards.num_shards == 3
    assert [len(record["rows"]) for record in shards.records()] == [0, 1, 2]
    assert [vectors.shape for vectors in shards.vectors()] == [(0, 2), (1, 2), (2, 2)]
    shards.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["000001.json", "000001.npy"])
@pytest.mark.parametrize("content", [None, b"", b"{", b'{"rows": []}'])
def test_what_follows_a_broken_part_is_done_again(tmp_path, name, content):
    fill(tmp_path / "g.partial")
    (tmp_path / "g.partial" / name).unlink()
    if content is not None:
        (tmp_path / "g.partial" / name).write_bytes(content)
    shards = Shards.open(tmp_path / "g.partial", "same", resume=True, discard=False)
    assert shards.num_shards == 1


def test_work_is_dropped_only_when_told(tmp_path):
    fill(tmp_path / "g.partial")
    with pytest.raises(InputError, match=r"unfinished build; go on with it \(--resume"):
        Shards.open(tmp_path / "g.partial", "same", resume=False, discard=False)
    with pytest.raises(InputError, match="another source or encoder"):
        Shards.open(tmp_path / "g.partial", "other", resume=True, discard=True)
    assert Shards.open(tmp_path / "g.partial", "same", resume=False, discard=True).num_shards == 0
    assert [path.name for path in (tmp_path / "g.partial").iterdir()] == ["build.json"]


@pytest.mark.parametrize("content", [None, "thesis", "[]", json.dumps({"format": "other"})])
def test_nothing_but_an_unfinished_build_is_ever_dropped(tmp_path, content):
    (tmp_path / "g.partial").mkdir()
    (tmp_path / "g.partial" / "dear.txt").touch()
    if content is not None:
        (tmp_path / "g.partial" / "build.json").write_text(content)
    for resume in (True, False):
        with pytest.raises(InputError, match="is not an unfinished build"):
            Shards.open(tmp_path / "g.partial", "same", resume=resume, discard=True)
    assert (tmp_path / "g.partial" / "dear.txt").exists()


def test_a_folder_that_cannot_be_made_is_an_artifact_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be written"):
        Shards.open(tmp_path / "file" / "g.partial", "same", resume=False, discard=False)
