"""Whether executors have nothing to do at the end of a study whose trials are of very different length."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest.mock import patch

from sqlalchemy.engine import make_url

from benchmarks.measuring import interleaved, ratios, table
from benchmarks.noop_study import coordinate, sqlite_url
from benchmarks.pools import started_pool
from benchmarks.question import Options, run
from benchmarks.sleeping import sleeper, sleeping_spec
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.study import last_trials
from cifar_tune.wording import counted

WORKERS = 8
_EPOCHS = 10
_EPOCH_SECONDS = {8: 0.02, 16: 0.04, 32: 0.08, 64: 0.16}
"""By width: the slowest trial takes eight times as long as the fastest."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Seconds of a study, and the share of them, over all workers, in which no epoch was trained."""

    seconds: float
    idle: float


def measure(options: Options) -> Sequence[str]:
    """Idle shares with the last trials as the sampler draws them, and with the longest of them first."""
    rounds = 1 if options.quick else 5
    rows: list[Sequence[object]] = []
    for trials in (40,) if options.quick else (40, 100):
        for pruner in ("none", "asha"):
            variants = {
                "as drawn": _variant(options, trials, pruner, 0),
                "longest first": _variant(options, trials, pruner, last_trials.PER_WORKER),
            }
            found = interleaved(variants, rounds)
            seconds = {name: [each.seconds for each in results] for name, results in found.items()}
            idle = [f"{100 * sum(each.idle for each in results) / rounds:.0f} %" for results in found.values()]
            rows.append((trials, pruner, *idle, f"**{ratios(seconds['longest first'], seconds['as drawn'])}**"))
    header = ("trials", "pruner", "idle, as drawn", "idle, longest first", "seconds, as drawn over longest first")
    return [
        "## The end of a study",
        f"{WORKERS} workers, trials of at most {_EPOCHS} epochs that only sleep: 1, 2, 4 or 8 times as long, depending "
        f'on width. Sampler random, {counted(rounds, "round")}, each with another seed. "Idle" is the share of the '
        'workers\' time in which no epoch ran, over the whole study. "As drawn": trials begin in the order of their '
        f'numbers. "Longest first": the last {last_trials.PER_WORKER} trials per worker, but at most '
        f"{last_trials.SHARE:.0%} of all, are drawn together, and those that should take longest begin first. (A "
        "sampler that learns knows less when trials are drawn together. What that costs is not measured here.)",
        table(header, rows),
    ]


def _variant(options: Options, trials: int, pruner: str, per_worker: int) -> Callable[[int], Ran]:
    def ran(number: int) -> Ran:
        storage = open_storage(make_url(sqlite_url(options.scratch, f"ending-{time.monotonic_ns()}")))
        seeded = {"name": "random", "seed": number}
        spec = sleeping_spec(trials, pruner, _EPOCHS, _EPOCH_SECONDS, name="ending", sampler=seeded)
        try:
            with (
                patch.object(last_trials, "PER_WORKER", per_worker),
                started_pool(WORKERS, sleeper(_EPOCHS, _EPOCH_SECONDS)) as executors,
            ):
                seconds = coordinate(storage, spec, executors).seconds
            trained = sum(
                len(trial.intermediate) * _EPOCH_SECONDS[int(trial.params["width"])]
                for trial in load_record(storage, spec.name).trials
            )
        finally:
            close(storage)
        return Ran(seconds, 1 - trained / (WORKERS * seconds))

    return ran


if __name__ == "__main__":
    run({"ending": measure})
