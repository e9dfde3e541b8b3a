from dataclasses import dataclass

import pytest

from geotoken.errors import ConfigError
from geotoken.model import ModelConfig
from geotoken.train.config import LoopConfig, read_layers, read_sections, resolve, save_sections


@dataclass(frozen=True, kw_only=True)
class Mixed:
    count: int = 1
    share: float = 0.5
    name: str | None = None
    pairs: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Several:
    loop: LoopConfig
    mixed: Mixed
    model: ModelConfig


SECTIONS = {"loop": LoopConfig, "mixed": Mixed, "model": ModelConfig}


def write(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[loop]\nlearning_rte = 1.0", r"unknown learning_rte in \[loop\]; did you mean learning_rate\?"),
        ("[lop]\nepochs = 1", r"unknown section \[lop\]; did you mean loop\?"),
        ("epochs = 1", r"unknown section \[epochs\]; allowed are loop, mixed, model"),
        ("[loop", "cannot be read as TOML"),
        ("[mixed]\nzzz = 1", r"unknown zzz in \[mixed\]; allowed are count, share, name, pairs"),
    ],
)
def test_what_a_file_may_not_have(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_sections(write(tmp_path, text), SECTIONS)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read"):
        read_sections(tmp_path / "none.toml", SECTIONS)


def test_flags_overrule_the_file_and_the_file_the_defaults(tmp_path):
    path = write(tmp_path, "[loop]\nepochs = 3\nlearning_rate = 1\n")
    config = resolve(LoopConfig, read_sections(path, SECTIONS)["loop"], {"epochs": 5, "seed": None})
    assert (config.epochs, config.learning_rate, config.seed) == (5, 1.0, 0)
    assert isinstance(config.learning_rate, float)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 1.5}, "count is 1.5; give a value of type int"),
        ({"count": True}, "count is True"),
        ({"share": "much"}, "share is 'much'"),
        ({"name": 3}, "give a value of type str or None"),
        ({"shere": 3}, "no setting shere; did you mean share"),
    ],
)
def test_values_of_a_wrong_type(given, message):
    with pytest.raises(ConfigError, match=message):
        resolve(Mixed, given)


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match="width"):
        resolve(ModelConfig, {"num_heads": 4})


def test_saved_settings_are_read_again(tmp_path):
    settings = Several(
        loop=LoopConfig(learning_rate=1e-6, epochs=7),
        mixed=Mixed(share=1e20, pairs=(("image", 768), ("text", 3))),
        model=ModelConfig.paper(),
    )
    path = tmp_path / "settings.toml"
    save_sections(path, settings)
    layers = read_layers(path, {"mixed": {"share": None}}, SECTIONS, {"loop": {"epochs": 1, "seed": 3}})
    found = {name: resolve(kind, *layers[name]) for name, kind in SECTIONS.items()}
    assert Several(**found) == settings


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"decay": 1.5}, "decay"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"schedule": "step"}, "schedule"),
        ({"precision": "16"}, "precision"),
        ({"accelerator": "tpu"}, "accelerator"),
    ],
)
def test_ranges(changes, name):
    with pytest.raises(ConfigError, match=f"^{name} is"):
        LoopConfig(**changes)
