"""`cifar-tune serve` from its first start to its end, with real trials."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifar_tune.client.http_desk import HttpDesk
from cifar_tune.service.submissions import read
from cifar_tune.service.tables import SERVER_LEASE
from cifar_tune.storage.lease import owner_of
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from tests.processes import Program, call_cifar_tune, start_cifar_tune
from tests.waiting import PATIENCE, read_until, wait_until

_STUDY = """
name: served
budget: {trials: 2}
sampler: {name: random, seed: 1}
data: {name: digits, val_size: 100, train_size: 100}
train: {model: cnn2, width: 4, epochs: 1, batch_size: 64}
search_space: {lr: {low: 1e-3, high: 1e-1, log: true}}
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "CIFAR_TUNE_ARTIFACTS"}
    return kept | {"CIFAR_TUNE_STORAGE": f"sqlite:///{tmp_path}/storage/cifar_tune.db"}


@pytest.fixture
def server(tmp_path: Path, environment: dict[str, str]) -> Iterator[Program]:
    process = start_cifar_tune(("serve", "--port", "0", "--devices", "cpu", "--slots", "1"), tmp_path, environment)
    yield process
    process.terminate()
    process.communicate(timeout=PATIENCE)


def test_a_server_runs_what_is_submitted(server: Program, tmp_path: Path, environment: dict[str, str]) -> None:
    assert server.stdout is not None
    for words in ("starting", "opening the database sqlite:///", "making the service's tables", "loading the pages"):
        read_until(server, words)
    address, token = server.stdout.readline().strip(), server.stdout.readline().rpartition(" ")[2].strip()
    with HttpDesk(address, token) as desk:
        number = desk.submit(_STUDY).id
        wait_until(lambda: not desk.submission("served").is_living)
        ended = desk.submission("served")
    assert (ended.state, ended.exit_code) == ("done", 0), ended.message
    read_until(server, "the run of served has ended")
    code, _, said = call_cifar_tune(("serve", "--no-http", "--devices", "cpu"), tmp_path, environment)
    assert code == 1
    assert f"process {server.pid} on" in said
    assert f"serves this storage already, at {address};" in said
    server.terminate()
    server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    url = storage_url(environment["CIFAR_TUNE_STORAGE"])
    storage = open_storage(url)
    with storage.engine.connect() as connection:
        assert read(connection, number).device_seconds > 0
    assert owner_of(storage.engine, SERVER_LEASE) is None
    close(storage)
    assert "trial 1" in (tmp_path / "storage" / "service" / "logs" / f"{number}.log").read_text()


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    wrong = ("--host", "0.0.0.0", "--proxy-role", "king", "--devices", "cpu", "--slots", "0")  # noqa: S104
    code, _, said = call_cifar_tune(("serve", *wrong), tmp_path, environment)
    assert code == 2
    assert "--proxy-role = 'king': must be viewer, editor or admin" in said
    assert "--slots = 0: must be a whole number from 1" in said
    assert not (tmp_path / "storage").exists()
