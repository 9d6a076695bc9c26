"""A server that runs a study with eight executors, while many people look at it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine, select
from sqlalchemy.engine import make_url

from benchmarks.noop_study import sqlite_url
from cifar_tune.optuna_tables import TRIALS
from cifar_tune.service.people import Actor, create_token
from cifar_tune.service.schema import upgrade
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.storage.rdb import open_storage

EXECUTORS = 8
STUDY = """
name: load
budget: {trials: 100000}
sampler: {name: random, seed: 1}
pruner: {name: none}
data: {name: digits, val_size: 200, train_size: 1000}
train: {model: cnn2, width: 8, epochs: 2, batch_size: 64, threads: 1}
search_space:
  lr: {low: 1e-4, high: 1e-2, log: true}
  weight_decay: {low: 1e-6, high: 1e-2, log: true}
  dropout: {low: 0.0, high: 0.5}
"""
PAGES = ("/", "/studies/load")
_POLLED = (*PAGES, "/v1/queue", "/v1/studies/load")
_HEARD = ("/v1/studies/load/stream", "/v1/events/stream")
_START_SECONDS = 600.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Server:
    """`cifar-tune serve` in a process, with people who have tokens.

    Args:
        folder: for its database and its files.
        people: how many.
    """

    def __init__(self, folder: Path, people: int) -> None:
        url = make_url(sqlite_url(folder, "load"))
        self.storage = open_storage(url)
        upgrade(self.storage.engine)
        with self.storage.engine.begin() as connection:
            self.tokens = [create_token(connection, "root", f"person-{each}", "viewer")[1] for each in range(people)]
        self.desk = StorageDesk(self.storage.engine, url, Actor("root", "admin"))
        environment = {
            **os.environ,
            "CIFAR_TUNE_STORAGE": url.render_as_string(hide_password=False),
            "CIFAR_TUNE_ARTIFACTS": str(folder / "artifacts"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH")))),
        }
        command = ("serve", "--port", "0", "--devices", "cpu", "--slots", str(EXECUTORS))
        self._log = (folder / "server.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cifar_tune", *command], cwd=folder, env=environment, stdout=subprocess.PIPE,
            stderr=self._log, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        address = urlsplit(next(line for line in self._process.stdout if line.startswith("http")).strip())
        self.host, self.port = str(address.hostname), int(address.port or 0)

    def begin(self) -> None:
        """Submit the study, and wait until all executors have finished trials."""
        self.desk.submit(STUDY)
        self.wait_for_trials()

    def wait_for_trials(self) -> None:
        """Wait until so many trials as there are executors have begun and ended from now on.

        Raises:
            TimeoutError: they do not.
        """
        began, deadline = _utc(), time.monotonic() + _START_SECONDS
        while len(spans(self.storage.engine, began)) < 2 * EXECUTORS:
            if time.monotonic() > deadline:
                raise TimeoutError("no trials end")
            time.sleep(0.5)

    def pause(self) -> None:
        """Let the study rest, and wait until its executors have ended."""
        self.desk.pause("load")
        while self.desk.submission("load").state == "running":
            time.sleep(0.2)

    @property
    def cpu_seconds(self) -> float:
        """Of the server's process, without those that it has started."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def megabytes(self) -> float:
        """Of memory that the server's process has."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20

    def stop(self) -> None:
        """Park everything, and end."""
        self._process.terminate()
        self._process.wait()
        self._log.close()


@contextmanager
def serving(folder: Path, people: int) -> Iterator[Server]:
    """A server that ends with the block."""
    server = Server(folder, people)
    try:
        yield server
    finally:
        server.stop()


@dataclass(frozen=True, slots=True)
class Phase:
    """Some seconds in which one thing was tried.

    Attributes:
        began: in UTC, without a zone, as the database has it.
        ended: the same.
        server: processor seconds of the server.
        clients: processor seconds of the clients; of the stand-in too, where they ask one.
        told: what the clients say; empty without any.
    """

    began: datetime
    ended: datetime
    server: float
    clients: float
    told: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.began).total_seconds()

    def trials_per_second(self, engine: Engine) -> float:
        """How many were trained; of those that began or ended outside, the part inside. Those must have ended too."""
        parts = 0.0
        for began, ended in spans(engine, self.began):
            inside = min(ended, self.ended) - max(began, self.began)
            parts += max(0.0, inside / (ended - began))
        return parts / self.seconds


def spans(engine: Engine, since: datetime) -> list[tuple[datetime, datetime]]:
    """When the trials began and ended that have ended since."""
    wanted = select(TRIALS.c.datetime_start, TRIALS.c.datetime_complete).where(TRIALS.c.datetime_complete > since)
    with engine.connect() as connection:
        return [(row[0], row[1]) for row in connection.execute(wanted)]


def clients_of(server: Server, pollers: int, listeners: int, period: float) -> dict[str, Any]:
    """What these clients are to do: they ask for the pages and routes in turns, and listen to both streams."""
    tokens = server.tokens
    return {
        "host": server.host,
        "port": server.port,
        "period": period,
        "pollers": [(_POLLED[each % len(_POLLED)], tokens[each]) for each in range(pollers)],
        "listeners": [(_HEARD[each % len(_HEARD)], tokens[each]) for each in range(listeners)],
    }


def alone(server: Server, seconds: float) -> Phase:
    """Nobody looks."""

    def wait() -> Mapping[str, Any]:
        time.sleep(seconds)
        return {"cpu": 0.0}

    return _phase(server, wait)


def asked(server: Server, seconds: float, job: Mapping[str, Any]) -> Phase:
    """The clients ask the server."""
    return _phase(server, lambda: _told({**job, "seconds": seconds}))


def asked_elsewhere(server: Server, seconds: float, job: Mapping[str, Any], told: Mapping[str, Any]) -> Phase:
    """The clients ask a stand-in, which answers with as many bytes as the server has (`told`)."""
    stand_in = _process()
    assert stand_in.stdin is not None
    assert stand_in.stdout is not None
    event = round(told["heard"] / max(1, told["events"]))
    stand_in.stdin.write(json.dumps({"serve": True, "bytes": told["bytes"], "event": event}) + "\n")
    stand_in.stdin.flush()
    port = int(stand_in.stdout.readline())

    def ask() -> Mapping[str, Any]:
        found = _told({**job, "host": "127.0.0.1", "port": port, "seconds": seconds})
        cost = json.loads(stand_in.communicate()[0])
        return {**found, "cpu": found["cpu"] + cost["cpu"]}

    return _phase(server, ask)


def _phase(server: Server, do: Callable[[], Mapping[str, Any]]) -> Phase:
    began, cpu = _utc(), server.cpu_seconds
    told = do()
    return Phase(began, _utc(), server.cpu_seconds - cpu, told["cpu"], told)


def _told(job: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(_process().communicate(json.dumps(job) + "\n")[0])
    return told


def _process() -> "subprocess.Popen[str]":
    program = Path(__file__).with_name("service_clients.py")
    return subprocess.Popen([sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _utc() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
