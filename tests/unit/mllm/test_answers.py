"""Kept answers: whole or not at all, and not confused by what lies in their folder."""

import pytest

from geotoken.errors import InputError
from geotoken.mllm.answers import Answers, Reply, key_of

KEY = "ab" * 32


def test_what_is_put_is_got(tmp_path):
    answers = Answers(tmp_path / "new" / "folder")
    assert answers.get(KEY) is None
    answers.put(KEY, Reply(text="é", problem="p", tokens_in=3))
    assert answers.get(KEY) == Reply(text="é", problem="p", tokens_in=3)
    assert [path.name for path in answers.folder.rglob("*") if path.is_file()] == [f"{KEY}.json"]


@pytest.mark.parametrize(
    "content",
    ["", '{"version": 1, "te', "[]", "null", "{}", '{"version": 2, "text": "x"}', '{"version": 1}',
     '{"version": 1, "text": 3}', '{"version": 1, "text": "x", "more": 1}',
     '{"version": 1, "text": "x", "tokens_in": "3"}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_is_no_answer(tmp_path, content):
    answers = Answers(tmp_path)
    answers.put(KEY, Reply(text="x"))
    next(tmp_path.rglob("*.json")).write_text(content)
    assert answers.get(KEY) is None


def test_the_key_depends_on_all_that_was_asked():
    asked = {"photo": "a", "vote": 0}
    assert key_of(**asked) == key_of(vote=0, photo="a")
    assert len({key_of(**asked), key_of(**asked | {"vote": 1}), key_of(**asked | {"photo": "b"})}) == 3


def test_a_folder_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        Answers(tmp_path / "file" / "folder")


def test_an_answer_that_cannot_be_written_is_told(tmp_path):
    answers = Answers(tmp_path)
    (tmp_path / KEY[:2]).touch()
    with pytest.raises(InputError, match="cannot be written"):
        answers.put(KEY, Reply(text="x"))
