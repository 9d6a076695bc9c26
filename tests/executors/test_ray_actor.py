"""The actor's class without a cluster: which machines it refuses to train on, and what its steps return."""

import dataclasses
from pathlib import Path

import pytest

import cifar_tune
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.messages import Began, Ended, EpochDone, Job, Ready, Refused, Verdict
from cifar_tune.knobs.configuration import complete

pytest.importorskip("ray", reason="needs ray: pip install 'cifar-tune[ray]'")

from cifar_tune.executors.ray_actor import RayExecutor, Surroundings

DATA = DataSpec(name="digits", train_size=100, val_size=100)


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    monkeypatch.chdir(tmp_path)  # the actor goes to the coordinator's folder: come back afterwards
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    return Surroundings(cifar_tune.__version__, tmp_path, {}, DATA, prepare(DATA).fingerprint, "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "another"}, "has other images than the coordinator in digits"),
        ({"version": "0.0.0"}, "and the coordinator 0.0.0: install the same"),
        ({"folder": Path("/proc/none")}, "/proc/none cannot be used as its folder"),
        ({"device": "cuda:9"}, "must be a device of this machine"),
    ],
    ids=["images", "version", "folder", "device"],
)
def test_a_machine_that_cannot_train_the_same_refuses(
    surroundings: Surroundings, change: dict[str, object], message: str
) -> None:
    executor = RayExecutor()
    (report,) = executor.start(dataclasses.replace(surroundings, **change))  # type: ignore[arg-type]
    assert isinstance(report, Refused)
    assert message in report.message
    assert " (" in report.message.partition(": ")[0], "the machine is not named"


def test_a_step_returns_when_it_waits_for_a_verdict(surroundings: Surroundings, tmp_path: Path) -> None:
    executor = RayExecutor()
    (ready,) = executor.start(surroundings)
    assert isinstance(ready, Ready)
    assert ready.device.startswith("cpu on ")
    config = complete({"model": "cnn2", "width": 4, "epochs": 2})
    job = Job(7, dict(config), DATA, tmp_path / "artifacts" / "trial-7.pt")

    (began,) = executor.begin(job)
    assert isinstance(began, Began)
    (epoch,) = executor.go_on(Verdict(go_on=True))
    assert isinstance(epoch, EpochDone)
    assert executor.go_on(Verdict(go_on=False)) == [Ended(7, "stopped")]

    (again,) = executor.begin(job)  # where its checkpoint ends
    assert isinstance(again, Began)
    assert again.results == (epoch.result,)
    executor.go_on(Verdict(go_on=True))
    assert executor.go_on(Verdict(go_on=True)) == [Ended(7, "completed")]
