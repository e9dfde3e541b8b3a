import os
from types import SimpleNamespace

import pytest

from geotoken import graphs as module
from geotoken.errors import ArtifactError


def test_what_is_no_graph_is_named_with_what_to_do_and_nothing_is_printed(tmp_path, capfd):
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"no graph")
    for content in (None, b"no graph either"):
        with pytest.raises(ArtifactError, match=r"graph\.onnx cannot be loaded \(.+\); make it again$"):
            module.open_graph(path, 1, "make it again", content=content)
    assert capfd.readouterr() == ("", "")


def test_cpus_where_the_system_cannot_tell_those_allowed(monkeypatch):
    monkeypatch.setattr(module, "os", SimpleNamespace(cpu_count=lambda: 7))
    assert module.num_cpus() == 7
    monkeypatch.setattr(module, "os", SimpleNamespace(cpu_count=lambda: None))
    assert module.num_cpus() == 1
    monkeypatch.setattr(module, "os", os)
    assert 1 <= module.num_cpus() <= os.cpu_count()
