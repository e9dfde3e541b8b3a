import pytest

from geotoken.errors import ArtifactError
from geotoken.train.log import Log, read_log


def test_columns_appear_with_their_first_value(tmp_path):
    log = Log(tmp_path, 0)
    log.write({"step": 0, "validation_loss": 2.5})
    log.write({"step": 1, "loss": 3.0})
    log.write({"step": 2, "loss": 2.0})
    log.close()
    text = (tmp_path / "log.csv").read_text(encoding="utf-8")
    assert text == "step,validation_loss,loss\n0,2.5,\n1,,3.0\n2,,2.0\n"


def test_lines_of_lost_work_are_left_out(tmp_path):
    log = Log(tmp_path, 0)
    for step in range(5):
        log.write({"step": step, "loss": step / 2})
    with (tmp_path / "log.csv").open("a", encoding="utf-8") as file:
        file.write("5")  # a process killed while it wrote
    log = Log(tmp_path, 3)
    log.write({"step": 4, "loss": 7.0})
    assert [(row["step"], row["loss"]) for row in read_log(tmp_path)] == [
        ("0", "0.0"),
        ("1", "0.5"),
        ("2", "1.0"),
        ("3", "1.5"),
        ("4", "7.0"),
    ]


def test_a_new_run_begins_a_new_table(tmp_path):
    Log(tmp_path, 0).write({"step": 1, "loss": 1.0})
    Log(tmp_path, 0)
    assert read_log(tmp_path) == []


def test_something_else_is_refused(tmp_path):
    (tmp_path / "log.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"log\.csv cannot be read"):
        read_log(tmp_path)
