"""What `deterministic: N` costs: a batch has to end before the next one begins, so workers wait for its slowest."""

import time
from collections.abc import Callable, Sequence

from sqlalchemy.engine import make_url

from benchmarks.measuring import interleaved, ratios, spread, table
from benchmarks.noop_study import coordinate, sqlite_url
from benchmarks.pools import started_pool
from benchmarks.question import Options, run
from benchmarks.sleeping import EpochSeconds, sleeper, sleeping_spec
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import counted

WORKERS = 4
_EPOCHS = 12
_EPOCH_SECONDS = {16: 0.015, 32: 0.03, 64: 0.06}
"""By width: the slowest trial takes four times as long as the fastest."""

_SAME_SECONDS = dict.fromkeys(_EPOCH_SECONDS, 0.03)


def measure(options: Options) -> Sequence[str]:
    """Seconds of a study with batches over those of the same study without."""
    trials, rounds = (16, 1) if options.quick else (48, 3)
    rows: list[Sequence[object]] = []
    for pruner in ("none", "hyperband"):
        for lengths, seconds in (("equal", _SAME_SECONDS), ("1, 2 or 4 times as long, by width", _EPOCH_SECONDS)):
            sizes = (None, WORKERS, 2 * WORKERS, 4 * WORKERS)
            variants = {str(size): _variant(options, _spec(trials, pruner, size), seconds) for size in sizes}
            found = interleaved(variants, rounds)
            ratio = [f"**{ratios(found['None'], found[str(size)])}**" for size in sizes[1:]]
            rows.append((pruner, lengths, spread(found["None"]), *ratio))
    header = ("pruner", "epochs", "without, s", *(f"deterministic: {size}" for size in sizes[1:]))
    return [
        "## The price of batches",
        f"How many times as long a study takes with `deterministic: N` as without it. {WORKERS} workers, {trials} "
        f"trials of at most {_EPOCHS} epochs that only sleep, sampler random, {counted(rounds, 'round')}.",
        table(header, rows),
    ]


def _spec(trials: int, pruner: str, size: int | None) -> StudySpec:
    sections = {"name": "barrier"} | ({} if size is None else {"deterministic": size})
    return sleeping_spec(trials, pruner, _EPOCHS, _EPOCH_SECONDS, **sections)


def _variant(options: Options, spec: StudySpec, epoch_seconds: EpochSeconds) -> Callable[[int], float]:
    def seconds(_round: int) -> float:
        storage = open_storage(make_url(sqlite_url(options.scratch, f"barrier-{time.monotonic_ns()}")))
        try:
            with started_pool(WORKERS, sleeper(_EPOCHS, epoch_seconds)) as executors:
                return coordinate(storage, spec, executors).seconds
        finally:
            close(storage)

    return seconds


if __name__ == "__main__":
    run({"barrier": measure})
