"""Studies that run in this process, with scripted executors and a real SQLite file."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import optuna
import pytest
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url

from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.pruners.build import build_pruner
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study import coordinator, failing_executors, trial
from cifar_tune.study.coordinator import Coordinator, Ending
from cifar_tune.study.events import Observer, StopRequests, TrialEnd, Watch
from cifar_tune.study.evolving import evolve_study, finish_evolution, previewed
from cifar_tune.study.opening import open_study
from cifar_tune.study.script import Script as Planned
from cifar_tune.study.transfer import find_transfer
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document
from cifar_tune.training.results import EpochResult
from tests.reports.factory import MadeTrial
from tests.waiting import PATIENCE

from .evolution import Evolve
from .left_by_a_run import LR, store
from .scripted import Script, ScriptedExecutors


class Clock:
    """Stands in for the module `time` where time limits are watched: it goes on when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Recorder(Observer):
    """Remembers everything; calls `after_epoch` when an epoch is reported."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ends: list[TrialEnd] = []
        self.epochs: list[tuple[int, int, float]] = []
        self.parked_trials: list[tuple[int, int]] = []
        self.after_epoch: Callable[[], None] = lambda: None

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        self.epochs.append((number, result.epoch, value))
        self.after_epoch()

    def ended(self, end: TrialEnd) -> None:
        self.ends.append(end)

    def parked(self, number: int, epochs: int) -> None:
        self.parked_trials.append((number, epochs))


class RunStudy(Protocol):
    def __call__(
        self,
        plain: dict[str, Any],
        script: Script | None = None,
        workers: int = 1,
        executors: ScriptedExecutors | None = None,
        stop_after: int | None = None,
        planned: Planned | None = None,
    ) -> tuple[Ending, StudyRecord, Recorder]: ...


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    monkeypatch.setenv("CIFAR_TUNE_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("CIFAR_TUNE_STORAGE", f"sqlite:///{tmp_path}/studies.db")
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(shared_cache))


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables of studies and nothing in them: making these takes longer than many a test."""
    file = tmp_path_factory.mktemp("empty") / "studies.db"
    close(open_storage(make_url(f"sqlite:///{file}")))
    return file


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Iterator[BatchStorage]:
    """SQLite; PostgreSQL where a test asks for it."""
    if getattr(request, "param", "sqlite") == "postgresql":
        from tests.postgres import own_server  # few tests need it

        with own_server() as server:
            opened = open_storage(storage_url(server.get_uri()))
            yield opened
            close(opened)
        return
    shutil.copyfile(empty_database, tmp_path / "studies.db")
    opened = open_storage(make_url(f"sqlite:///{tmp_path}/studies.db"))
    yield opened
    close(opened)  # else hundreds of tests leave their files open


@pytest.fixture
def data() -> PreparedData:
    return prepare(DataSpec(name="digits"))


def spec_of(plain: dict[str, Any]) -> StudySpec:
    return read_study(Document({"name": "test", "data": {"name": "digits"}} | plain), None).spec


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By it the time of trials is measured."""
    clock = Clock()
    for module in (failing_executors, trial):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def run_scripted(storage: BatchStorage, data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> RunStudy:
    """Run a study with scripted executors; `stop_after` asks to stop after so many epochs."""
    monkeypatch.setattr(coordinator, "_ADMISSION_SECONDS", PATIENCE)  # on a busy machine too others are heard

    def run(
        plain: dict[str, Any],
        script: Script | None = None,
        workers: int = 1,
        executors: ScriptedExecutors | None = None,
        stop_after: int | None = None,
        planned: Planned | None = None,
    ) -> tuple[Ending, StudyRecord, Recorder]:
        spec = spec_of(plain)
        pool = executors or ScriptedExecutors(script or Script(), workers)
        recorder, stop = Recorder(), StopRequests()

        def count() -> None:
            if stop_after is not None and len(recorder.epochs) >= stop_after:
                stop.count = 1

        recorder.after_epoch = count
        open_study(storage, spec, data, find_transfer(storage, spec))
        with closing(WriteBehindStorage(storage, spec.name, look=0.0, rewrite=0.0, linger=0.01)) as memory:
            pruner = build_pruner(spec.pruner, spec.largest_epochs)
            study = optuna.load_study(study_name=spec.name, storage=memory, pruner=pruner)
            ending = Coordinator(memory, study, spec, pool, Watch(recorder, stop), planned).run()
        return ending, load_record(storage, spec.name), recorder

    return run


@pytest.fixture
def made(storage: RDBStorage) -> RDBStorage:
    """With a study of two trials, of which the second is the better one."""
    store(storage, [MadeTrial({"lr": 0.01}, 0.6, epochs=2), MadeTrial(LR, 0.8, epochs=2)])
    return storage


@pytest.fixture
def evolve(storage: RDBStorage, data: PreparedData) -> Evolve:
    """Let the study become another one; returns what is said, which is what was shown before."""

    def run(plain: dict[str, Any]) -> list[str]:
        spec = spec_of(plain)
        said: list[str] = []
        would = previewed(storage, spec).consequences
        lease = acquire(storage.engine, spec.name)
        try:
            evolve_study(storage, spec, data, lease, said.append)
            finish_evolution(storage, spec.name, storage.engine.url)
        finally:
            lease.release()
        done = [each.replace("would evolve", "has evolved").replace("would be kept", "is kept") for each in would]
        assert said == done, "what was shown before is not what was done"
        return said

    return run
