import dataclasses
from pathlib import Path

import pytest

from geotoken.errors import ConfigError
from geotoken.train.config import flat_sections, read_sections, save_sections
from geotoken.train.reward_settings import RECIPE, SECTIONS, FoldOptions, RewardSettings
from settings_pages import fields_of, table_of

ROOT = Path(__file__).parents[3]


def test_the_recipe_is_what_its_file_says():
    assert RewardSettings.resolve(ROOT / "configs" / "reward.toml") == RewardSettings.resolve()
    sections = read_sections(ROOT / "configs" / "reward.toml", SECTIONS)
    for section, entries in RECIPE.items():
        assert entries.items() <= sections[section].items()


def test_the_demo_only_shortens_the_recipe():
    demo, whole = RewardSettings.resolve(ROOT / "configs" / "demo" / "reward.toml"), RewardSettings.resolve()
    assert demo.loop.epochs < whole.loop.epochs
    loop = dataclasses.replace(demo.loop, epochs=whole.loop.epochs, warmup_steps=whole.loop.warmup_steps)
    assert dataclasses.replace(demo, loop=loop) == whole


def test_flags_overrule_the_file_and_the_file_what_suits_the_model(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[network]\nwidth = 32\nnum_neighbors = 7\n[loop]\nepochs = 3\nseed = 5\n")
    suited = {"num_neighbors": 9, "num_guesses": 1, "modalities": ("text",)}
    found = RewardSettings.resolve(path, {"loop": {"epochs": 4, "seed": None}}, suited)
    assert (found.network.width, found.network.num_neighbors, found.network.num_guesses) == (32, 7, 1)
    assert found.network.modalities == ("text",)
    assert (found.loop.epochs, found.loop.seed, found.loop.batch_size) == (4, 5, 32)


def test_settings_come_back(tmp_path):
    settings = RewardSettings.resolve(None, {"folds": {"num_folds": 3}}, {"modalities": ("text",)})
    save_sections(tmp_path / "settings.toml", settings)
    assert RewardSettings.resolve(tmp_path / "settings.toml") == settings


def test_what_must_be_equal_to_resume_names_every_entry_but_the_loops():
    flat = flat_sections(RewardSettings.resolve())
    assert flat["network.width"] == 64
    num_entries = sum(len(dataclasses.fields(kind)) for name, kind in SECTIONS.items() if name != "loop")
    assert len(flat) == num_entries


@pytest.mark.parametrize(
    ("changes", "message"), [({"num_folds": 1}, "num_folds is 1"), ({"steps": -1}, "steps")]
)
def test_impossible_folds_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        FoldOptions(**changes)


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "loop"])
def test_the_tables_of_the_page_are_those_of_the_dataclasses(section):
    page = (ROOT / "docs" / "reward.md").read_text(encoding="utf-8")
    assert table_of(page, section) == fields_of(SECTIONS[section])
