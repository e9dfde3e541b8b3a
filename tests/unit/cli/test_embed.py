import pytest
import typer

from geotoken.cli import embed
from geotoken.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clip", ("image", "clip")),
        ("look=clip", ("look", "clip")),
        ("owner/name", ("image", "owner/name")),
        ("./a=b/c", ("image", "./a=b/c")),
        ("gps_2=models/a=b", ("gps_2", "models/a=b")),
    ],
)
def test_names_before_encoders(text, expected):
    assert embed._split(text) == expected


def test_the_bundled_encoder_is_the_default():
    (encoder,) = embed._encoders(None, None, (None, None), offline=True).values()
    assert encoder.dim == 384


def test_two_encoders_of_one_modality_are_refused():
    with pytest.raises(InputError, match="two encoders make the modality 'image'"):
        embed._encoders(["mini", "image=mini"], None, (None, None), offline=True)


def test_flags_without_a_backbone_are_refused():
    with pytest.raises(InputError, match="are for --backbone"):
        embed._encoders(["mini"], None, ("cpu", None), offline=True)


def test_the_command_is_there():
    from geotoken.cli.program import app

    assert "embed" in typer.main.get_command(app).commands


def test_workers_see_one_gpu_each():
    calls = []

    def load(options, num_threads=None):
        calls.append((options, num_threads))

    one = embed._for_workers(load, "cuda:3", None)
    one["make_encoders"]()
    one["make_here"]()
    other = embed._for_workers(load, None, "float16")
    other["make_encoders"]()
    assert calls == [(("cuda", "bfloat16"), 1), (("cpu", "bfloat16"), None), ((None, "float16"), 1)]
    assert (one["num_gpus"], other.get("num_gpus")) == (1, None)
