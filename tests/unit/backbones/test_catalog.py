from geotoken import hub
from geotoken.backbones import BACKBONES


def test_every_backbone_has_a_place_and_a_licence():
    for one in BACKBONES.values():
        assert hub.parse_id(one.repo_id) == hub.HubId(one.repo_id)
        assert one.license


def test_names_are_not_taken_for_hub_ids():
    assert [name for name in BACKBONES if hub.parse_id(name)] == []
