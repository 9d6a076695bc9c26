import math
from pathlib import Path

import pytest

from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.optimizers import SCHEDULE_FREE
from cifar_tune.knobs.table import KNOBS
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.reports.best_config import best_yaml
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study_spec.run_config import read_run_config

from .factory import MadeTrial, config_of, make_record, make_spec


def write(record: StudyRecord, folder: Path) -> Path:
    assert record.best is not None
    path = folder / "best.yaml"
    path.write_text(best_yaml(record, record.best, path), encoding="utf-8")
    return path


TINY = {"lr": {"low": 1e-9, "high": 1.0, "log": True}}


def test_it_reads_back_as_the_best_trial(exported: Path, record: StudyRecord) -> None:
    best = record.best
    assert best is not None
    read = read_run_config(exported / "best.yaml")
    assert read.train.stored() == {**best.config, "precision": "fp32"}
    assert read.data == record.spec.data


@pytest.mark.parametrize("lr", [0.1, 1 / 3, 1e-9, 1.2345678901234567e-5, math.nextafter(0.1, 1), 1.0])
def test_numbers_keep_every_digit(tmp_path: Path, lr: float) -> None:
    path = write(make_record(make_spec(TINY), [MadeTrial({"lr": lr}, 0.5)]), tmp_path)
    read = read_run_config(path).train["lr"]
    assert isinstance(read, float)
    assert read.hex() == lr.hex()


@pytest.mark.parametrize("augment", [(), ("horizontal_flip",), ("random_crop", "horizontal_flip")])
def test_lists_of_names_stay_lists(tmp_path: Path, augment: tuple[str, ...]) -> None:
    spec = make_spec({"augment": {"choices": [list(augment)]}})
    path = write(make_record(spec, [MadeTrial({"augment": augment}, 0.5)]), tmp_path)
    assert f"augment: [{', '.join(augment)}]" in path.read_text()
    wanted = config_of(spec, {"augment": augment}).replaced(precision="fp32")
    assert read_run_config(path).train == wanted


@pytest.mark.parametrize(
    "knob", [knob for knob in KNOBS.values() if knob.kind in (Kind.NAME, Kind.NAMES)], ids=lambda knob: str(knob.name)
)
def test_every_name_survives(tmp_path: Path, knob: Knob) -> None:
    """`none`, for one, must not turn into nothing."""
    for name in knob.names or ():
        constant = {"schedule": "constant"} if name in SCHEDULE_FREE else {}
        spec = make_spec({}, train={knob.name: name} | constant | _owner(knob))
        path = write(make_record(spec, [MadeTrial({}, 0.5, attrs={"precision": None})]), tmp_path)
        assert read_run_config(path).train[knob.name] == knob.parse(name)


def _owner(knob: Knob) -> dict[str, str]:
    """A choice of the owner that takes the knob."""
    if knob.owner is None:
        return {}
    return {knob.owner: "cnn3" if "cnn3" in BUILT_IN.takers(knob) else BUILT_IN.takers(knob)[0]}


def test_precision_is_the_one_that_came_out(tmp_path: Path) -> None:
    spec = make_spec({}, train={"precision": "auto"})
    path = write(make_record(spec, [MadeTrial({}, 0.5, attrs={"precision": "bf16"})]), tmp_path)
    assert read_run_config(path).train["precision"] == "bf16"


@pytest.mark.parametrize("root", ["1e3", "null", "a b: #c", "Bilder/ä", "yes", "'quoted'"])
def test_the_data_part_reads_back_whatever_the_folder_is_called(tmp_path: Path, root: str) -> None:
    data = {"name": "image_folder", "root": root, "image_size": 48, "train_size": 100, "split_seed": 7}
    spec = make_spec({}, data=data)
    assert read_run_config(write(make_record(spec, [MadeTrial({}, 0.5)]), tmp_path)).data == spec.data


def test_the_header_says_where_it_comes_from(tmp_path: Path) -> None:
    folder = tmp_path / "my reports"
    folder.mkdir()
    value = 0.1 + 0.2
    path = write(make_record(make_spec(TINY), [MadeTrial({"lr": 0.1}, 0.2), MadeTrial({"lr": 0.2}, value)]), folder)
    assert [line for line in path.read_text().splitlines() if line.startswith("#")] == [
        "# The best configuration of the study made: trial 1",
        "# val_accuracy = 0.30000000000000004 (to maximize), on the validation split",
        "# device: cpu; torch 2.9.1",
        f"# Train it again: cifar-tune train '{path}'",
    ]


def test_the_best_is_the_smallest_loss_where_loss_is_minimized(tmp_path: Path) -> None:
    spec = make_spec(TINY, objective={"metric": "val_loss"})
    path = write(make_record(spec, [MadeTrial({"lr": 0.1}, 0.9), MadeTrial({"lr": 0.2}, 0.4)]), tmp_path)
    assert read_run_config(path).train["lr"] == 0.2
