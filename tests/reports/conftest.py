"""One study with everything in it, exported once."""

from pathlib import Path

import optuna
import pytest

from cifar_tune.reports.export import export
from cifar_tune.storage.records import StudyRecord
from tests.conftest import leave_pictures_blank

from .factory import MadeTrial, make_record, make_spec, random_trials

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="session")
def record() -> StudyRecord:
    """Sixty trials in all states over a conditional space."""
    spec = make_spec(train={"epochs": 6})
    running = MadeTrial({"optimizer": "adamw", "lr": 0.01, "weight_decay": 1e-4, "activation": "relu", "width": 16,
                         "batch_size": 64, "augment": ("random_crop",)}, None, "RUNNING", 2,
                        history={"val_accuracy": [0.2, 0.3]})  # fmt: skip
    return make_record(spec, [*random_trials(spec, 60), running])


@pytest.fixture(scope="session")
def exported(record: StudyRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that study's report, with blank pictures."""
    folder = tmp_path_factory.mktemp("exported") / "reports" / "made"
    with pytest.MonkeyPatch.context() as patch:
        leave_pictures_blank(patch)
        export(record, folder)
    return folder


@pytest.fixture(scope="session")
def drawn(record: StudyRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its pictures."""
    folder = tmp_path_factory.mktemp("drawn") / "reports" / "made"
    export(record, folder)
    return folder
