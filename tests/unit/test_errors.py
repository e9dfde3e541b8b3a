import pytest

from geotoken.errors import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a  b\n  c\n"), "a b c"),
        (OSError(28, "No space"), "[Errno 28] No space"),
        (EOFError(), "EOFError"),
        (ValueError(" \n"), "ValueError"),
    ],
)
def test_what_an_exception_says_is_one_line(error, reason):
    assert reason_of(error) == reason
