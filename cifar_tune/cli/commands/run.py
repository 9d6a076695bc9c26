"""`cifar-tune run`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.errors import CheckError, Problem, UserError, all_at_once
from cifar_tune.streams import say


def run(
    study: options.Study,
    storage: options.Storage = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials in total, earlier runs included.", show_default=False)
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="Time in total, such as 45m or 2h.", show_default=False)] = None,
    workers: Annotated[
        str, typer.Option(help="Trials at a time, each in a process of its own; auto: as many as there is room for.")
    ] = "1",
    devices: Annotated[str, typer.Option(help="auto, cpu, or a list such as cuda:0,cuda:1.")] = "auto",
    engine: Annotated[str, typer.Option(help="Where trials run: local, or ray, on a cluster.")] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The Ray cluster; else RAY_ADDRESS, else the one that runs here. local: begin one for this run.",
            show_default=False,
        ),
    ] = None,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="With ray: a worker's share of a GPU; 1 where there are GPUs.", show_default=False
        ),
    ] = None,
    settings: options.Set = None,
    evolve: Annotated[
        bool,
        typer.Option("--evolve", help="The study file has changed: show which trials fit it, and carry them over."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --evolve: do not ask.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; only what was changed, and warnings.")] = False,
) -> None:
    """Create a study, or continue it up to its budget."""
    from cifar_tune.cli.find_study import find_spec, when_reached
    from cifar_tune.cli.progress import observer
    from cifar_tune.cli.stop_signals import stop_signals
    from cifar_tune.cli.summary_lines import outcome_lines
    from cifar_tune.executors.options import ExecutorOptions
    from cifar_tune.storage.urls import shown, storage_url
    from cifar_tune.study.run import run_study
    from cifar_tune.study_spec.overrides import Override

    more = [
        Override(f"budget.{key}", value, f"--{key}")
        for key, value in (("trials", trials), ("timeout", timeout))
        if value is not None
    ]
    with all_at_once() as stage:
        count: int | None = 1
        with stage:
            count = _count(workers)
        names = tuple(name.strip() for name in devices.split(","))
        where = ExecutorOptions(engine, count, names, address, gpus_per_worker)
        with stage:
            where.check()
        with stage:
            url = storage_url(storage)
            read = when_reached(lambda: find_spec(study, url, settings, more), url)
    if evolve:
        from cifar_tune.cli.asking import confirm_evolution

        with read.problems.placing():
            when_reached(lambda: confirm_evolution(read.spec, url, is_agreed=yes), url)
    with observer(read.spec, quiet) as watching:
        for note in read.notes:
            watching.note(note)
        with stop_signals() as stop, _own_stdout(), read.problems.placing():
            outcome = run_study(read.spec, url, watching, where, stop, evolve)
    given = [argument.replace(storage, shown(url)) if storage else argument for argument in sys.argv[1:]]
    if outcome.has_begun and options.is_read_once(study):
        given = [read.spec.name if argument == study else argument for argument in given]
    for line in outcome_lines(outcome, read.spec, given):
        say(line)
    if outcome.ending == "interrupted":
        sys.exit(130)
    if outcome.record is not None and outcome.record.best is None:
        raise CheckError(f"{outcome.record.without_best_words}; see: cifar-tune status {read.spec.name}")


@contextmanager
def _own_stdout() -> Iterator[None]:
    """Keep stdout for the results: Ray reports dead machines there."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def _count(workers: str) -> int | None:
    if workers == "auto":
        return None
    if not workers.isascii() or not workers.isdecimal() or int(workers) < 1:
        raise UserError(Problem("must be a whole number >= 1, or auto", "--workers", workers))
    return int(workers)
