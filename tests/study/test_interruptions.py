"""Two runs at the same instant, and Ctrl-C once and twice, in real processes."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.exhaustive import few_of
from tests.postgres import create_database, own_server
from tests.study.test_faults import folder_with
from tests.study.test_processes import Folder, executor_of
from tests.waiting import PATIENCE, is_alive, read_until, wait_until

Fresh = Callable[[Path, int], Folder]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with own_server() as server:
        yield server.get_uri()


@pytest.fixture(params=few_of(["sqlite", "postgresql"], ["sqlite"]))
def fresh(request: pytest.FixtureRequest) -> Fresh:
    """Makes folders with an empty database."""
    if request.param == "sqlite":
        return lambda path, number: Folder(path / str(number))
    uri: str = request.getfixturevalue("server")

    def make(path: Path, number: int) -> Folder:
        folder = Folder(path / str(number))
        url = create_database(uri, f"contested_{number}", stays=True).render_as_string(hide_password=False)
        folder.url = folder.environment["CIFAR_TUNE_STORAGE"] = url
        return folder

    return make


def test_of_two_runs_started_at_the_same_instant_one_owns_the_study(tmp_path: Path, fresh: Fresh) -> None:
    for number in range(2):
        folder = fresh(tmp_path, number)
        folder.gate.let(1)
        runs = [folder.start("run", "study.yaml") for _ in range(2)]
        wait_until(lambda runs=runs: any(run.poll() is not None for run in runs))  # type: ignore[misc]
        loser, owner = sorted(runs, key=lambda run: run.poll() is None)
        _, err = loser.communicate(timeout=PATIENCE)
        assert loser.returncode == 1, err
        assert f"the study 'disturbed' is being run by process {owner.pid} on" in err
        assert "Traceback" not in err
        folder.wait_for_epochs(1)
        owner.terminate()
        _, err = owner.communicate(timeout=PATIENCE)
        assert owner.returncode == 130, err
        assert "Traceback" not in err
        assert len(folder.record().trials) == 1


IN_NO_HURRY = """
import sys

from cifar_tune.cli.main import main
from cifar_tune.executors import local

close = local.LocalExecutors.close


def closed_after_a_word(self, at_once):
    print("it waits for its executors", file=sys.stderr, flush=True)
    close(self, at_once)


local._GRACE_SECONDS = 36_000.0
local.LocalExecutors.close = closed_after_a_word
sys.argv[0] = "cifar-tune"
main()
"""


def test_ctrl_c_twice_ends_at_once_also_with_an_executor_that_does_not_answer(tmp_path: Path) -> None:
    """The first request waits for the executor: here for hours, so that it is the second one that ends the run."""
    folder = folder_with("stuck", tmp_path)
    process = folder.start("run", "study.yaml", "--set", "mood=stuck", code=IN_NO_HURRY)
    folder.wait_for_epochs(1)
    wait_until((folder.path / "is_stuck").exists)
    executor = executor_of(process)
    os.killpg(process.pid, signal.SIGINT)
    read_until(process, "it waits for its executors")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "trial 0 is parked after epoch 1" in err
    assert "Traceback" not in err
    assert not is_alive(executor)
    assert [trial.state for trial in folder.record().trials] == ["WAITING"]
