import pytest

from geotoken.errors import InputError
from geotoken.serve.settings import MOST_WORKERS, Settings


def test_the_defaults_fit_each_other():
    settings = Settings()
    assert 1 <= settings.num_workers <= MOST_WORKERS
    assert settings.photo_bytes <= settings.request_bytes
    assert settings.photo_timeout_s < settings.request_timeout_s


@pytest.mark.parametrize(("workers", "waiting"), [(1, 1), (2, 2), (8, 8)])
def test_as_many_may_wait_as_are_done_soon(workers, waiting):
    assert Settings(workers=workers).num_waiting == waiting


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("port", 65_536, "--port"),
        ("workers", 0, "--workers"),
        ("max_waiting", 0, "--max-waiting"),
        ("max_photo_mb", 0, "--max-photo-mb"),
        ("max_megapixels", float("nan"), "--max-megapixels"),
        ("request_timeout_s", float("inf"), "--request-timeout"),
        ("drain_timeout_s", -1, "--drain-timeout"),
        ("api_key", "kürzel-mit-umlaut", "--api-key"),
        ("api_key", "short", "--api-key"),
        ("api_key", "line\nline-line", "--api-key"),
        ("cors_origins", ("example.org",), "--cors-origin"),
    ],
)
def test_a_field_out_of_range_names_its_flag(field, value, flag):
    with pytest.raises(InputError, match=rf"\({flag}\)"):
        Settings(**{field: value})


def test_what_a_locator_gets():
    loaded = Settings(model="mini", head="mixture", offline=True, threads=3).loaded
    assert loaded == {"model": "mini", "head": "mixture", "gallery": None, "offline": True, "num_threads": 3}
