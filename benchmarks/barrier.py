"""What `deterministic: N` costs: a batch has to end before the next one begins, so workers wait for its slowest."""

import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from sqlalchemy.engine import make_url

from benchmarks.measuring import interleaved, ratios, spread, table
from benchmarks.noop_study import coordinate, sqlite_url
from benchmarks.pools import play, started_pool
from benchmarks.question import Options, run
from benchmarks.sleeping import sleeping_epochs
from cifar_tune.executors.messages import Began, EpochDone, Job
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.study.estimate import counted
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document

WORKERS = 4
_EPOCHS = 12
_EPOCH_SECONDS = {16: 0.015, 32: 0.03, 64: 0.06}
"""By width: the slowest trial takes four times as long as the fastest."""

_SAME_SECONDS = 0.03


def measure(options: Options) -> Sequence[str]:
    """Seconds of a study with batches over those of the same study without."""
    trials, rounds = (16, 1) if options.quick else (48, 3)
    rows: list[Sequence[object]] = []
    for pruner in ("none", "hyperband"):
        for is_equal in (True, False):
            sizes = (None, WORKERS, 2 * WORKERS, 4 * WORKERS)
            variants = {str(size): _variant(options, _spec(trials, pruner, size), is_equal) for size in sizes}
            found = interleaved(variants, rounds)
            lengths = "equal" if is_equal else "1, 2 or 4 times as long, by width"
            ratio = [f"**{ratios(found['None'], found[str(size)])}**" for size in sizes[1:]]
            rows.append((pruner, lengths, spread(found["None"]), *ratio))
    header = ("pruner", "epochs", "without, s", *(f"deterministic: {size}" for size in sizes[1:]))
    return [
        "## The price of batches",
        f"Seconds of a study with `deterministic: N` over those of the same study without, {WORKERS} workers, {trials} "
        f"trials of at most {_EPOCHS} epochs that only sleep, sampler random. {counted(rounds, 'round')}.",
        table(header, rows),
    ]


def _spec(trials: int, pruner: str, size: int | None) -> StudySpec:
    plain: dict[str, Any] = {
        "name": "barrier",
        "budget": {"trials": trials},
        "sampler": {"name": "random"},
        "pruner": {"name": pruner},
        "data": {"name": "digits"},
        "train": {"epochs": _EPOCHS},
        "search_space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "width": {"choices": list(_EPOCH_SECONDS)}},
    }
    return read_study(Document(plain | ({} if size is None else {"deterministic": size})), None).spec


def _variant(options: Options, spec: StudySpec, is_equal: bool) -> Callable[[int], float]:
    def seconds(_round: int) -> float:
        storage = open_storage(make_url(sqlite_url(options.scratch, f"barrier-{time.monotonic_ns()}")))
        target = sleep_equally if is_equal else sleep_by_width
        try:
            with started_pool(WORKERS, target) as executors:
                return coordinate(storage, spec, executors).seconds
        finally:
            close(storage)

    return seconds


def sleep_equally(connection: Connection, device: str, _slot: int) -> None:
    """Answer as an executor does whose epochs all take the same time. The target of a process."""
    play(connection, device, lambda job: sleeping_epochs(job, _EPOCHS, _SAME_SECONDS))


def sleep_by_width(connection: Connection, device: str, _slot: int) -> None:
    """The same with epochs that take longer for wider nets."""
    play(connection, device, _by_width)


def _by_width(job: Job) -> Iterator[Began | EpochDone]:
    return sleeping_epochs(job, _EPOCHS, _EPOCH_SECONDS[int(str(job.config["width"]))])


if __name__ == "__main__":
    run({"barrier": measure})
