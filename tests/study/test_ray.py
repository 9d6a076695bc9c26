"""A real Ray cluster of several nodes, on this machine: nodes are killed and added while a study runs on them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from cifar_tune.executors.options import ExecutorOptions
from tests.exhaustive import few_of
from tests.ray_cluster import SMALL, ray_cluster
from tests.waiting import PATIENCE, wait_until

from .test_processes import Folder, values
from .test_run import require_that_a_thread_can_be_stopped

ray = pytest.importorskip("ray", reason="needs ray: pip install 'cifar-tune[ray]'")

STUDY = """
name: disturbed
budget: {trials: 4}
sampler: {name: random, seed: 1}
pruner: {name: none}
data: {name: digits, val_size: 100, train_size: 100}
plugins: [wait_for_test.py]
train:
  {model: cnn2, width: 4, epochs: 8, batch_size: 64, optimizer: sgd, dropout: 0.2,
   augment: [random_crop, wait_for_test]}
search_space:
  lr: {low: 1e-3, high: 1e-1, log: true}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that trains nothing, and two nodes with room for one trial each."""
    with ray_cluster(2) as cluster:
        yield cluster
        ray.shutdown()


def test_another_thread_runs_a_study_and_the_process_keeps_its_signals_and_its_stdout(
    cluster: Any, tmp_path: Path
) -> None:
    options = ExecutorOptions(engine="ray", address=cluster.address)
    require_that_a_thread_can_be_stopped(make_url(f"sqlite:///{tmp_path}/s.db"), options)


def folder_with_study(path: Path) -> Folder:
    folder = Folder(path)
    (path / "study.yaml").write_text(STUDY)
    return folder


@pytest.mark.parametrize("parked_first", few_of([True, False], [False]), ids=["parked first", "at once"])
def test_a_study_on_a_failing_cluster_ends_like_an_undisturbed_one_here(
    parked_first: bool, cluster: Any, tmp_path: Path
) -> None:
    reference = folder_with_study(tmp_path / "reference")
    code, _, err = reference.call("run", "study.yaml")
    assert code == 0, err

    while len(cluster.worker_nodes) < 2:  # those that the test before has left
        cluster.add_node(num_cpus=1, **SMALL)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)

    def nothing_runs() -> bool:
        return bool(ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])

    folder = folder_with_study(tmp_path / "disturbed")
    command = ("run", "study.yaml", "--engine", "ray", "--address", cluster.address, "--workers")

    def both_have_trained() -> bool:
        folder.gate.let_next()
        return sum(trial.state == "RUNNING" and trial.epochs > 0 for trial in folder.record().trials) == 2

    if parked_first:  # by Ctrl-C
        folder.gate.let(1)
        first = folder.start_interpreter(*command, "2")
        folder.wait_for_epochs(1)
        wait_until(lambda: folder.record().counts["RUNNING"] == 2)  # else one might train while the other one starts
        wait_until(both_have_trained)
        os.killpg(first.pid, signal.SIGINT)
        out, err = first.communicate(timeout=PATIENCE)
        assert first.returncode == 130
        assert "go on with: cifar-tune run study.yaml --engine ray" in out
        assert "Traceback" not in err
        assert folder.record().counts["WAITING"] == 2
        wait_until(nothing_runs)

    # all nodes are lost, one joins and is used; then the coordinator is killed, and nothing trains on
    parked_at = folder.epochs() if parked_first else 0
    folder.gate.let(2)
    second = folder.start(*command, "2")
    folder.wait_for_epochs(parked_at + 2)
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)
    lost_at = folder.epochs()
    cluster.add_node(num_cpus=1, **SMALL)
    folder.train_until_epochs(lost_at + 3)  # also what no checkpoint held, and what the lost nodes still begin
    wait_until(lambda: folder.record().counts["RUNNING"] > 0)  # not while a trial waits for its next executor
    second.kill()
    _, err = second.communicate(timeout=PATIENCE)
    assert "the process or the machine is gone); it goes on in another" in err
    wait_until(nothing_runs)

    # and to the end, with the one node that is left
    folder.gate.open()
    last = folder.start(*command, "auto")  # not in this process, which has joined the cluster itself
    out, err = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, err
    assert "an earlier run was killed" in err
    assert "(raylet)" not in out + err
    wait_until(nothing_runs)
    record = folder.record()
    assert (len(record.trials), record.counts["COMPLETE"]) == (4, 4)
    assert values(record) == values(reference.record())
    assert all("cpu on " in (trial.device or "") for trial in record.trials)
    assert len([number for trial in record.trials for number in trial.resumed_from]) >= (3 if parked_first else 1)
