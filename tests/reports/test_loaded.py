import csv
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import assert_type, cast

import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image

import cifar_tune
from cifar_tune.errors import UserError
from cifar_tune.plotting.style import NotebookFigure
from cifar_tune.reports.loaded import LoadedStudy
from cifar_tune.reports.pictures import PARETO, PICTURES
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord
from cifar_tune.storage.urls import storage_url

from .factory import MadeTrial, make_record, make_spec, random_trials

LR = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}


def test_a_study_is_loaded_by_its_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    storage = open_storage(storage_url(url))
    make_record(make_spec(LR), [MadeTrial({"lr": 0.1}, 0.5), MadeTrial({"lr": 0.2}, 0.6)], storage)
    close(storage)
    study = assert_type(cifar_tune.load_study("made", url), LoadedStudy)  # checked by mypy
    assert study.best_value == 0.6
    assert study.best_config()["lr"] == 0.2
    assert repr(study) == "<study made: 2 trials, best val_accuracy 0.6>"
    with pytest.raises(UserError, match="has no study 'mad'"):
        cifar_tune.load_study("mad", url)
    with pytest.raises(UserError, match="there is no such file yet"):
        cifar_tune.load_study("made", f"sqlite:///{tmp_path / 'other.db'}")


def test_the_best_configuration_is_that_of_best_yaml(record: StudyRecord, exported: Path) -> None:
    assert LoadedStudy(record).best_config() == yaml.safe_load((exported / "best.yaml").read_text())["train"]


def test_the_table_is_that_of_trials_csv(record: StudyRecord, exported: Path) -> None:
    table = LoadedStudy(record).trials_table()
    with (exported / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(each) for each in table] == [list(each) for each in rows]
    for ours, row in zip(table, rows, strict=True):
        shown = {key: value for key, value in ours.items() if not isinstance(value, datetime)}
        assert {key: "" if value is None else str(value) for key, value in shown.items()} == {
            key: row[key] for key in shown
        }


def test_the_frame_has_types(record: StudyRecord) -> None:
    pandas = pytest.importorskip("pandas")
    frame = LoadedStudy(record).trials_frame()
    assert len(frame) == len(record.trials)
    assert pandas.api.types.is_datetime64_any_dtype(frame["started"])
    assert pandas.api.types.is_float_dtype(frame["lr"])
    epochs = LoadedStudy(record).epochs_frame()
    assert len(epochs) == sum(len(trial.intermediate) for trial in record.trials)
    assert pandas.api.types.is_float_dtype(epochs["val_loss"])


def test_without_pandas_the_frame_says_what_to_install(record: StudyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"needs pandas: pip install 'cifar-tune\[notebook\]'"):
        LoadedStudy(record).trials_frame()
    with pytest.raises(UserError, match=r"pip install 'cifar-tune\[notebook\]'; epochs_table\(\) works without it"):
        LoadedStudy(record).epochs_frame()


def test_every_picture_has_its_method(record: StudyRecord, tmp_path: Path) -> None:
    study = LoadedStudy(record)
    for name in PICTURES:
        figure = getattr(study, f"plot_{Path(name).stem}")()
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / name)
        assert Image.open(tmp_path / name).size[0] > 500
    assert cast(NotebookFigure, study.plot_importance())._repr_png_().startswith(b"\x89PNG")
    assert isinstance(study.plot_comparison("optimizer"), Figure)
    assert study.compare("optimizer").knob == "optimizer"


def test_the_front_is_drawn_where_there_is_one(record: StudyRecord) -> None:
    with pytest.raises(UserError, match="made: has one objective, so no Pareto front"):
        LoadedStudy(record).plot_pareto()
    spec = make_spec(train={"epochs": 2}, objective=[{"metric": "val_accuracy"}, {"metric": "parameters"}])
    study = LoadedStudy(make_record(spec, random_trials(spec, 20, pruned=0)))
    assert isinstance(study.plot_pareto(), Figure)
    assert set(PARETO) == {"pareto.png"}


def test_a_study_without_a_best_trial_draws_sentences_and_says_so() -> None:
    study = LoadedStudy(make_record(make_spec(LR), []))
    assert study.best_value is None
    assert isinstance(study.plot_history(), Figure)
    with pytest.raises(UserError, match="has no completed trial"):
        study.best_config()


PARTS = """
from cifar_tune.plugins import Kind, Knob, LossPart

LOSSES = {"own": LossPart(lambda logits, targets, bite: 0, "one", arguments={"bite": "bite"})}
KNOBS = [Knob("bite", Kind.INT, 2, "teeth", low=1, owner="loss")]
"""


@pytest.mark.usefixtures("blank_pictures")
def test_each_of_several_studies_has_its_own_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parts.py").write_text(PARTS)
    spec = make_spec({"bite": {"low": 1, "high": 40}}, plugins=["parts.py"], train={"loss": "own"})
    trials = [MadeTrial({"bite": number + 1}, 0.5 + number / 100, epochs=2) for number in range(30)]
    first = LoadedStudy(make_record(spec, trials))
    second = LoadedStudy(make_record(make_spec(LR), [MadeTrial({"lr": 0.1}, 0.5), MadeTrial({"lr": 0.2}, 0.6)]))
    for _ in range(2):
        assert "bite" in [row.knob for row in [first.compare("bite")]]
        with pytest.raises(UserError, match="bite"):
            second.compare("bite")
        assert first.best_config()["bite"] == 30
        assert second.best_config()["lr"] == 0.2
        assert isinstance(first.plot_slices(), Figure)
        assert first.trials_table()[0]["bite"] == 1
        assert (tmp_path / "first" / "report.html") in first.export(tmp_path / "first")


def test_the_package_itself_stays_light() -> None:
    code = (
        "import cifar_tune, sys; raise SystemExit(bool({'torch', 'optuna', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "from cifar_tune import load_study; import sys; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'load_studies'"):
        _ = cifar_tune.load_studies
    assert "load_study" in dir(cifar_tune)
