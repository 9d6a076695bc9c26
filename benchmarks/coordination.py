"""What a study costs beside its training: our coordinator against plain Optuna in as many processes."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy.engine import make_url

from benchmarks.made_study import store_study
from benchmarks.measuring import digits, interleaved, ratios, spread, table
from benchmarks.noop_study import EPOCHS, coordinate, noop_spec, sqlite_url, work_nothing
from benchmarks.plain_optuna import PlainResult, optimize
from benchmarks.pools import started_pool
from benchmarks.postgres import new_database, server
from benchmarks.question import Options, run
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.wording import counted

NewDatabase = Callable[[], str]


def measure(options: Options) -> Sequence[str]:
    """Trials per second on both databases, and what a trial costs when there are many already."""
    with server(options.scratch / "postgres") as postgres:
        databases = {"SQLite": _new_sqlite(options.scratch)}
        if postgres is not None:
            databases["PostgreSQL"] = _new_postgres(postgres)
        rows = [row for name, new in databases.items() for row in _speeds(name, new, options)]
        growth = [row for name, new in databases.items() for row in _growth(name, new, options)]
    missing = [] if len(databases) > 1 else ["PostgreSQL was not measured: the extra `test` is not installed."]
    ours, theirs, rounds = _amounts(options)
    speed_header = (
        "database", "executors or processes", "plain Optuna, trials/s", "the same with WAL", "ours, trials/s",
        "ratio to plain Optuna", "ratio to the better one",
        "errors, theirs", "lost, theirs", "errors, ours", "lost, ours",
    )  # fmt: skip
    growth_header = ("database", "pruner", "trials before", "ms per trial", "over the fewest")
    return [
        "## Coordination",
        f"A study that trains nothing: seven searched knobs, {EPOCHS} reports per trial, sampler TPE, pruner "
        "Hyperband. All trials report the same values, so the pruner has to decide each time but stops no trial. Ours: "
        f"executors in separate processes answer at once, and the clock stops when all {ours} trials are in the "
        "database; lease and write-behind count. Plain Optuna: `study.optimize` in as many processes on the same "
        f"database, {theirs} trials (fewer, since it slows down as the study grows), and the clock starts when all "
        f"processes have started. {counted(rounds, 'round')}. Wanted: 6 times as fast with 8 processes, never slower, "
        "no error, nothing lost.",
        *missing,
        table(speed_header, rows),
        "### With many trials",
        "The processor time of the coordinator for 40 more trials in a study that already has many, its writer thread "
        "included, after the trials were read once. 2 executors, and the random sampler, which costs next to nothing. "
        "Wanted: at most twice as much as in the smallest study.",
        table(growth_header, growth),
    ]


def _amounts(options: Options) -> tuple[int, int, int]:
    """Trials of ours, trials of theirs, rounds."""
    return (24, 16, 1) if options.quick else (200, 48, 3)


def _new_sqlite(scratch: Path) -> NewDatabase:
    def new() -> str:
        return sqlite_url(scratch, f"noop-{time.monotonic_ns()}")

    return new


def _new_postgres(url: str) -> NewDatabase:
    def new() -> str:
        return new_database(url, f"noop_{time.monotonic_ns()}")

    return new


def _speeds(name: str, new: NewDatabase, options: Options) -> list[Sequence[object]]:
    ours, theirs, rounds = _amounts(options)
    rows: list[Sequence[object]] = []
    for count in (1, 8) if options.quick else (1, 2, 8, 32):
        variants = {
            "ours": lambda _, count=count: _ours(new(), ours, count),
            "plain": lambda _, count=count: optimize(new(), theirs, count, wal=False),
        }
        if name == "SQLite":
            variants["wal"] = lambda _, count=count: optimize(new(), theirs, count, wal=True)
        found = interleaved(variants, rounds)
        speeds = {
            variant: [(ours if variant == "ours" else theirs) / each.seconds for each in results]
            for variant, results in found.items()
        }
        better = [max(both) for both in zip(*(speeds[variant] for variant in speeds if variant != "ours"), strict=True)]
        others = [each for variant, results in found.items() if variant != "ours" for each in results]
        wal = digits(spread(speeds["wal"]).median) if "wal" in speeds else "-"
        rows.append(
            (
                name, count, digits(spread(speeds["plain"]).median), wal, digits(spread(speeds["ours"]).median),
                f"**{ratios(speeds['plain'], speeds['ours'])}**", ratios(better, speeds["ours"]),
                sum(each.errors for each in others), sum(theirs - each.whole for each in others),
                sum(each.errors for each in found["ours"]), sum(ours - each.whole for each in found["ours"]),
            )
        )  # fmt: skip
    return rows


def _ours(url: str, trials: int, workers: int) -> PlainResult:
    storage = open_storage(make_url(url))
    spec = noop_spec(trials)
    with started_pool(workers, work_nothing) as executors:
        ran = coordinate(storage, spec, executors)
    record = load_record(storage, spec.name)
    close(storage)
    whole = sum(len(trial.intermediate) == EPOCHS and trial.state == "COMPLETE" for trial in record.trials)
    return PlainResult(ran.seconds, whole, sum("does not take anything" in note for note in ran.notes))


def _growth(name: str, new: NewDatabase, options: Options) -> list[Sequence[object]]:
    more = 40
    rows: list[Sequence[object]] = []
    for pruner in ("none", "hyperband"):
        fewest: float | None = None
        for before in (100, 300) if options.quick else (100, 1_000, 10_000):
            storage = open_storage(make_url(new()))
            spec = noop_spec(before, "random", pruner)
            store_study(storage, spec, before)
            longer = noop_spec(before + more, "random", pruner)
            with started_pool(2, work_nothing) as executors:
                ran = coordinate(storage, longer, executors)
            close(storage)
            per_trial = 1000 * ran.processor_seconds / more
            fewest = fewest or per_trial
            rows.append((name, pruner, f"{before:,}", digits(per_trial), f"**{digits(per_trial / fewest)}**"))
    return rows


if __name__ == "__main__":
    run({"coordination": measure})
