import json

import pytest

from geotoken.alignment import AlignmentConfig
from geotoken.errors import ArtifactError, ConfigError

REQUIRED = {"image_encoder": "fake-6", "image_dim": 6}


def test_it_comes_back_as_it_was_written(tmp_path):
    for config in (
        AlignmentConfig(**REQUIRED),
        AlignmentConfig(**REQUIRED, hidden=None, dim=6, text="none", scales=(2.0,)),
        AlignmentConfig(**REQUIRED, hidden=(3, 4), text_encoder="me/clip", text_encoder_dim=7),
    ):
        config.save(tmp_path / "align.json")
        assert AlignmentConfig.load(tmp_path / "align.json") == config


def test_heads_have_the_widths_they_were_given():
    config = AlignmentConfig(**REQUIRED, hidden=(30, 20), dim=8, text_dim=5)
    assert config.modalities == {"location": 8, "text": 5}
    assert (config.head_widths("location"), config.head_widths("text")) == ((6, 30, 20, 8), (6, 30, 20, 5))
    bare = AlignmentConfig(**REQUIRED, hidden=None, dim=6, text="none")
    assert (bare.modalities, bare.head_widths("location")) == ({"location": 6}, (6,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, "dim is 0; give an integer from 1"),
        ({"width": True}, "width is True"),
        ({"hidden": (0,)}, "hidden is 0"),
        ({"hidden": None}, "dim is that of image vectors, 6; not 256"),
        ({"scales": ()}, r"scales is \(\)"),
        ({"scales": (-1.0,)}, "greater than 0"),
        ({"text": "poem"}, "choose one of levels, sentence, none"),
        ({"text_encoder": "me/clip"}, "give both or none"),
        ({"image_dim": 10**9}, "to 65536"),
    ],
)
def test_what_is_impossible_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AlignmentConfig(**REQUIRED | changes)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"hidden": 3, "scales": [1]}', '{"hidden": [], "scales": [1], "x": 1}']
)
def test_a_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "align.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match="does not hold the configuration of an alignment") as caught:
        AlignmentConfig.load(path)
    assert "\n" not in str(caught.value)


def test_a_changed_entry_is_checked(tmp_path):
    path = tmp_path / "align.json"
    AlignmentConfig(**REQUIRED).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"width": -4}))
    with pytest.raises(ArtifactError, match="width is -4"):
        AlignmentConfig.load(path)
