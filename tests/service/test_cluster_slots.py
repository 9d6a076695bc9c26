"""A server whose slots are those of a Ray cluster: machines that join and leave, and a study that trains there."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from cifar_tune.errors import UserError
from cifar_tune.executors.options import room_of
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.cluster_slots import ClusterGoneError, ClusterSlots, cluster_slots
from cifar_tune.service.coordinating import coordinate
from cifar_tune.service.one_server import server_lease
from cifar_tune.service.slots import slots_of_a_trial
from cifar_tune.service.submissions import LATER
from cifar_tune.service.supervising import Settings, Supervisor
from cifar_tune.storage.records import load_record
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE
from cifar_tune.study.events import StopRequests
from tests.ray_cluster import SMALL, ray_cluster
from tests.waiting import PATIENCE, wait_until

from .conftest import DeskOf

STUDY = """
name: on-a-cluster
budget: {trials: 2}
sampler: {name: random, seed: 1}
pruner: {name: none}
data: {name: digits, val_size: 100, train_size: 100}
train: {model: cnn2, width: 4, epochs: 1, batch_size: 64}
search_space: {lr: {low: 1e-3, high: 1e-1, log: true}}
"""


@pytest.fixture
def url(sqlite_url: URL) -> URL:
    return sqlite_url


def known(gpus: float | None, **machines: dict[str, float]) -> ClusterSlots:
    found = ClusterSlots(None, gpus)
    found.hear(json.dumps(list(machines.items())))
    return found


def test_a_slot_is_a_cpu_or_a_share_of_a_gpu() -> None:
    assert known(None, lab2={"CPU": 2.0}, lab1={"CPU": 1.0, "memory": 1e9}, idle={}).slots() == (
        "cpu@lab1",
        "cpu@lab2",
        "cpu@lab2",
    )
    machines = {"lab1": {"CPU": 8.0, "GPU": 2.0}, "lab2": {"CPU": 4.0}, "lab3": {"CPU": 1.0, "GPU": 4.0}}
    assert known(None, **machines).slots() == ("gpu@lab1", "gpu@lab1", "gpu@lab3")
    assert known(0.5, **machines).slots() == ("gpu@lab1",) * 4 + ("gpu@lab3",)
    assert known(0.0, **machines).slots() == ("cpu@lab1",) * 8 + ("cpu@lab2",) * 4 + ("cpu@lab3",)
    assert room_of({"CPU": 5.0}, 2, 0.0) == 2


def test_trials_on_cpus_of_a_cluster_take_as_many_slots_as_they_have_threads() -> None:
    text = f"{STUDY}\nsearch_space: {{threads: {{choices: [1, 3]}}}}".replace("search_space: {lr", "x-no: {lr")
    assert slots_of_a_trial(text, ("cpu@lab1",)) == 3
    assert slots_of_a_trial(text, ("gpu@lab1",)) == 1


def test_what_is_decided_stays_when_machines_of_another_kind_join() -> None:
    found = known(None, lab1={"CPU": 1.0})
    assert "--gpus-per-worker 0" in " ".join(found.command(7, ["cpu@lab1"]))
    found.hear(json.dumps([["lab1", {"CPU": 1.0}], ["lab2", {"CPU": 1.0, "GPU": 1.0}]]))
    assert found.slots() == ("cpu@lab1", "cpu@lab2")


def test_a_cluster_that_falls_silent_is_gone_until_it_is_heard_again() -> None:
    found = known(None, lab1={"CPU": 1.0})
    found.hear("no JSON")
    assert found.slots() == ("cpu@lab1",)
    found.miss("it was too much")
    with pytest.raises(ClusterGoneError, match="it was too much"):
        found.slots()
    found.hear(json.dumps([["lab1", {"CPU": 2.0}]]))
    assert len(found.slots()) == 2
    found.silence = -1.0
    with pytest.raises(ClusterGoneError):
        found.slots()


def test_a_server_looks_again_when_the_cluster_is_back(url: URL, storage: BatchStorage, desk_of: DeskOf) -> None:
    found = known(None, lab1={"CPU": 1.0})
    said: list[str] = []
    settings = Settings(found.slots(), renewed=found.slots, command=lambda *_: ["false"])
    server = Supervisor(storage.engine, url, server_lease(storage.engine), settings, said.append)
    found.miss("gone for good")
    desk_of("anna").submit(STUDY)
    server.look_patiently()
    assert server.standing() == said[-1].partition(";")[0] == "the Ray cluster does not answer"
    assert desk_of("anna").submission("on-a-cluster").state == "queued"
    found.hear(json.dumps([["lab1", {"CPU": 1.0}], ["lab2", {"CPU": 1.0}]]))
    server.look_patiently()
    assert server.standing() == "ok"
    assert [device for device, _ in server.slots] == ["cpu@lab1", "cpu@lab2"]


def test_a_cluster_without_machines_is_waited_for(url: URL, storage: BatchStorage, desk_of: DeskOf) -> None:
    found = known(None)
    settings = Settings(found.slots(), renewed=found.slots, command=lambda *_: ["false"])
    server = Supervisor(storage.engine, url, server_lease(storage.engine), settings, print)
    desk_of("anna").submit(STUDY)
    server.look()
    waiting = desk_of("anna").submission("on-a-cluster")
    assert (waiting.state, waiting.waits) == ("queued", "the cluster has no machine at the moment")


ray = pytest.importorskip("ray", reason="needs ray: pip install 'cifar-tune[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that trains nothing, and a node with room for one trial."""
    with ray_cluster(1) as cluster:
        yield cluster


def test_a_study_runs_on_the_cluster_whose_machines_come_and_go(
    cluster: Any, url: URL, storage: BatchStorage, desk_of: DeskOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "storage" / "artifacts"))
    monkeypatch.setattr("cifar_tune.service.cluster_slots._FIRST_SECONDS", PATIENCE)
    monkeypatch.chdir(tmp_path)
    desk = desk_of("anna")
    desk.submit(STUDY, workers=1)
    with cluster_slots(cluster.address, None) as found:
        found.silence = PATIENCE
        assert len(found.slots()) == 1
        assert found.slots()[0].startswith("cpu@")
        settings = Settings(found.slots(), command=found.command, renewed=found.slots)
        server = Supervisor(storage.engine, url, server_lease(storage.engine), settings, print)

        def has(slots: int) -> bool:
            server.look_patiently()
            time.sleep(0.2)
            return len(server.slots) == slots

        server.look_patiently()
        assert [study for _, study in server.slots] == ["on-a-cluster"]
        node = cluster.add_node(num_cpus=2, **SMALL)
        wait_until(lambda: has(3))
        cluster.remove_node(node)
        wait_until(lambda: has(1))
        wait_until(lambda: has(1) and not desk.submission("on-a-cluster").is_living)
        ended = desk.submission("on-a-cluster")
        assert (ended.state, ended.exit_code) == ("done", 0), ended.message
        server.end()
    record = load_record(storage, "on-a-cluster")
    assert record.counts == {"COMPLETE": 2}
    assert all((trial.device or "").startswith("cpu on ") for trial in record.trials)


def test_without_a_cluster_nothing_is_served_and_a_run_is_put_off(url: URL, desk_of: DeskOf, storage: Any) -> None:
    from cifar_tune.executors.options import ExecutorOptions
    from cifar_tune.service import submissions

    with pytest.raises(UserError, match="no Ray cluster there"), cluster_slots("127.0.0.1:9", None):
        pass
    with pytest.raises(UserError, match="ray start --head"), cluster_slots("local", None):
        pass
    number = desk_of("anna").submit(STUDY).id
    with storage.engine.begin() as connection:
        submissions.begin(connection, number)
    away = ExecutorOptions("ray", 1, address="127.0.0.1:9", gpus_per_worker=0.0)
    assert coordinate(url, number, ["cpu@lab1"], StopRequests(), away).exit_code == LATER
    assert desk_of("anna").submission("on-a-cluster").state == "queued"
