"""A server in this process, and runs that stand-ins play."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from cifar_tune.service.one_server import server_lease
from cifar_tune.service.scheduling import Rules
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.supervising import Settings, Supervisor
from tests.waiting import PATIENCE

STAND_IN = Path(__file__).with_name("stand_in.py")
RULES = Rules(min_run=0.0)


ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


class Lab:
    """A server in this process, and its runs."""

    def __init__(self, engine: Engine, url: URL, folder: Path, desk: StorageDesk) -> None:
        self.engine, self.url, self.folder, self.desk = engine, url, folder, desk
        self.said: list[str] = []
        self.server = self.new_server()

    def new_server(self, slots: int = 2, rules: Rules = RULES) -> Supervisor:
        settings = Settings(("cpu",) * slots, rules, self._command)
        self.lease = server_lease(self.engine)
        return Supervisor(self.engine, self.url, self.lease, settings, self.said.append)

    def _command(self, number: int, devices: Sequence[str]) -> Sequence[str]:
        return [sys.executable, str(STAND_IN), str(number), ",".join(devices), str(self.folder)]

    def submit(self, study: str, priority: int = 0, workers: int | None = None, more: str = "") -> None:
        text = f"name: {study}\ndata: {{name: digits}}\nbudget: {{trials: 50}}\n{more}"
        self.desk.submit(text, f"{study}.yaml", priority=priority, workers=workers)

    def replace_server(self) -> None:
        """As if it had been killed, and started again."""
        self.lease.release()
        self.server = self.new_server()

    def state(self, study: str) -> str:
        return self.desk.submission(study).state

    def held(self, study: str) -> str:
        """The devices that the run holds."""
        file = self.folder / f"{study}.devices"
        return file.read_text() if file.exists() else "not begun"

    def starts(self, study: str) -> list[int]:
        """The processes that have run it."""
        file = self.folder / f"{study}.starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def order(self, study: str, order: str) -> None:
        part = self.folder / f"{study}.order.part"  # the process itself writes its devices meanwhile
        part.write_text(order)
        part.replace(self.folder / f"{study}.order")

    def until(self, is_so: Callable[[], bool], server: Supervisor | None = None) -> None:
        """Let the server look until it is so."""
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            (server or self.server).look()
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)


def files_of_runs(lab: Lab) -> list[str]:
    return sorted(file.name for file in (lab.folder / "storage" / "service" / "runs").iterdir())
