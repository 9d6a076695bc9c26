"""The memory of the service over an hour of requests, while its studies change.

`python -m benchmarks.service_memory --requests 144000` makes as many requests as 200 people make in an hour who ask
every 5 s. Meanwhile studies are submitted, get trials, epochs and other priorities, are cancelled and deleted, and all
streams are opened anew again and again. Nothing trains, so that the processor is left to the requests.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import insert

from benchmarks.machine import facts
from benchmarks.made_study import load, made_trial, store_study
from benchmarks.measuring import digits, table
from benchmarks.noop_study import noop_spec
from benchmarks.service_load import Server, asked, clients_of, serving
from benchmarks.service_views import submission_row
from cifar_tune.optuna_internals import trial_id
from cifar_tune.service.tables import NAMES, SUBMISSIONS

PEOPLE, LISTENERS = 200, 50
PERIOD = 5.0
"""Seconds between two questions of one person."""

_CLIENTS = 20
_PHASE_SECONDS = 20.0
_KEPT = 8
"""Studies that are there at a time."""

_EVERY = 10
"""A new one comes in each phase of so many, once they are there."""

_TRIALS = 20

_PATHS = (
    "/", "/slots", "/events", "/metrics", "/v1/queue", "/v1/slots", "/v1/studies", "/v1/submissions?limit=20",
    "/v1/events?limit=50", "/api/studies", "/studies/{study}", "/studies/{study}", "/v1/studies/{study}",
    "/v1/studies/{study}", "/v1/studies/{study}/live", "/v1/studies/{study}/trials?limit=50",
    "/v1/studies/{study}/trials/0", "/v1/studies/{study}/importances", "/v1/studies/{study}/best",
)  # fmt: skip
_HEAVY = "/v1/studies/{study}/report/summary.json"
_HEARD = ("/v1/studies/{study}/stream", "/v1/events/stream")


@dataclass
class Traffic:
    """What was asked of the server, and what memory it had then.

    Attributes:
        requests: how many in all, after each phase.
        megabytes: of the server's process, likewise.
        errors: what went wrong, and how often.
        events: that the streams have brought.
        studies: how many were made, and how many of them deleted.
    """

    requests: list[int] = field(default_factory=lambda: [0])
    megabytes: list[float] = field(default_factory=lambda: [0.0])
    errors: Counter[str] = field(default_factory=Counter)
    events: int = 0
    studies: int = 0

    def parts(self, count: int) -> list[tuple[int, float]]:
        """Requests and MB after each of so many parts of the requests."""
        wanted = [self.requests[-1] * part / count for part in range(1, count + 1)]
        places = [next(at for at, made in enumerate(self.requests) if made >= each) for each in wanted]
        return [(self.requests[at], self.megabytes[at]) for at in places]


class Studies:
    """Studies that come, change and go.

    Args:
        server: that shows them.
        draw: draws what happens.
    """

    def __init__(self, server: Server, draw: random.Random) -> None:
        self._server = server
        self._draw = draw
        self._spec = noop_spec(1000)
        self.names: list[str] = []
        self.made = 0
        self._phase = 0

    def change(self) -> None:
        """Now and then make a study and delete the oldest one; let a trial of each end, and another one go on."""
        self._phase += 1
        if self._phase % _EVERY == 0:
            oldest = self.names.pop(0)
            self._server.desk.cancel(oldest)
            self._server.desk.delete(oldest)
        while len(self.names) < _KEPT:
            self._make()
        for name in self.names:
            study = load(self._server.storage, name)
            study.add_trial(made_trial(self._spec, self._draw))
            for running in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
                step = 1 + len(running.intermediate_values)
                self._server.storage.set_trial_intermediate_value(trial_id(running), step, self._draw.random())
            self._server.desk.set_priority(name, self._draw.randint(-5, 5))

    def _make(self) -> None:
        self.made += 1
        name = f"made-{self.made}"
        store_study(self._server.storage, replace(self._spec, name=name), _TRIALS)
        running = made_trial(self._spec, self._draw)
        running.state, running.values, running.datetime_complete = TrialState.RUNNING, None, None
        running.intermediate_values = {}
        load(self._server.storage, name).add_trial(running)
        row = {**submission_row(name, waits=True), "state": "paused", "wanted": "pause"}
        with self._server.storage.engine.begin() as connection:
            connection.execute(insert(NAMES).values(study=name, owner="anna", since=time.time()))
            connection.execute(insert(SUBMISSIONS).values(**row))
        self.names.append(name)


def ask_for_long(server: Server, requests: int, deadline: float = float("inf")) -> Traffic:
    """Ask as fast as the clients can, in phases of 20 s, until so many requests were made or time is up.

    Args:
        server: on an empty database.
        requests: how many.
        deadline: of `time.monotonic`; the phase that runs then is the last one.
    """
    draw = random.Random(0)  # noqa: S311 (no secret)
    traffic, studies = Traffic(), Studies(server, draw)
    while traffic.requests[-1] < requests and time.monotonic() < deadline:
        studies.change()
        job = _job(server, studies.names, draw)
        told = asked(server, _PHASE_SECONDS, job).told
        traffic.requests.append(traffic.requests[-1] + sum(map(len, told["latencies"].values())))
        traffic.megabytes.append(server.megabytes)
        traffic.errors.update(told["errors"])
        traffic.events += told["events"]
        print(f"{traffic.requests[-1]:,} requests, {traffic.megabytes[-1]:.0f} MB", file=sys.stderr, flush=True)
    traffic.studies = studies.made
    return traffic


def _job(server: Server, studies: Sequence[str], draw: random.Random) -> dict[str, Any]:
    def drawn(path: str) -> tuple[str, str]:
        return path.format(study=draw.choice(studies)), draw.choice(server.tokens)

    paths = [draw.choice(_PATHS) for _ in range(_CLIENTS - 1)]
    heard = [_HEARD[each % len(_HEARD)] for each in range(LISTENERS)]
    job = clients_of(server, 0, 0, 0.0)
    return {**job, "pollers": [drawn(path) for path in (*paths, _HEAVY)], "listeners": [drawn(path) for path in heard]}


def told(traffic: Traffic) -> list[str]:
    """The figures, in Markdown."""
    hour = PEOPLE * 3600 / PERIOD
    asked_for = traffic.requests[-1]
    rows = [[f"{count:,}", digits(megabytes)] for count, megabytes in traffic.parts(6)]
    errors = ", ".join(f"{count} times {what}" for what, count in traffic.errors.most_common(5)) or "none"
    return [
        f"The server's memory while {_CLIENTS} clients of {PEOPLE} people ask without a pause for pages and routes of "
        f"{_KEPT} studies. {LISTENERS} streams are opened anew every {_PHASE_SECONDS:g} s. Meanwhile trials of all "
        f"studies run and end. {traffic.studies} studies were submitted, and all but the last {_KEPT} were cancelled "
        f"and deleted. "
        f"{asked_for:,} requests, which {PEOPLE} people who ask every {PERIOD:g} s make in "
        f"{60 * asked_for / hour:.0f} minutes; {traffic.events:,} events. Errors: {errors}.",
        table(("requests", "MB"), rows),
    ]


def main() -> int:
    """Measure it; returns the exit code: 1 where an answer was none that was wanted."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service_memory", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--requests", type=int, default=144_000, help="how many (default: 144000, an hour of 200 people)"
    )
    parser.add_argument("--minutes", type=float, default=24 * 60, help="no longer than this, whatever was asked for")
    given = parser.parse_args()
    machine = facts()
    with tempfile.TemporaryDirectory(prefix="cifar-tune-memory-") as scratch:
        os.environ["CIFAR_TUNE_ARTIFACTS"] = str(Path(scratch, "artifacts"))
        with serving(Path(scratch), PEOPLE) as server:
            deadline = time.monotonic() + 60 * given.minutes
            traffic = ask_for_long(server, given.requests, deadline)
    print("\n\n".join([*told(traffic), machine]))
    return 1 if traffic.errors else 0


if __name__ == "__main__":
    sys.exit(main())
