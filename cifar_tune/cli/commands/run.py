"""`cifar-tune run`."""

import os
import sys
from typing import Annotated

import typer

from cifar_tune.cli import executor_options, options
from cifar_tune.errors import CheckError, all_at_once
from cifar_tune.streams import say


def run(
    study: options.Study,
    storage: options.Storage = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials in total, earlier runs included.", show_default=False)
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="Time in total, such as 45m or 2h.", show_default=False)] = None,
    workers: executor_options.Workers = "1",
    devices: executor_options.Devices = "auto",
    engine: executor_options.Engine = "local",
    address: executor_options.Address = None,
    gpus_per_worker: executor_options.GpusPerWorker = None,
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
    from cifar_tune.cli.race_run import own_stdout
    from cifar_tune.cli.summary_lines import outcome_lines
    from cifar_tune.service.addresses import SECRET_VARIABLE
    from cifar_tune.service.run_telling import telling_of_run
    from cifar_tune.storage.urls import shown, storage_url
    from cifar_tune.study.run import run_study
    from cifar_tune.study.stop_signals import stop_signals
    from cifar_tune.study_spec.notify import without_addresses
    from cifar_tune.study_spec.overrides import Override

    more = [
        Override(f"budget.{key}", value, f"--{key}")
        for key, value in (("trials", trials), ("timeout", timeout))
        if value is not None
    ]
    with all_at_once() as stage:
        with stage:
            where = executor_options.executor_options(workers, devices, engine, address, gpus_per_worker)
        with stage:
            url = storage_url(storage)
            read = when_reached(lambda: find_spec(study, url, settings, more), url)
    if evolve:
        from cifar_tune.cli.asking import confirm_evolution

        with read.problems.placing():
            when_reached(lambda: confirm_evolution(read.spec, url, is_agreed=yes), url)
    secret = os.environ.pop(SECRET_VARIABLE, "")  # plugins have no business with it
    with observer(read.spec, quiet) as watching:
        for note in read.notes:
            watching.note(note)
        with (
            stop_signals() as stop,
            own_stdout(),
            read.problems.placing(),
            telling_of_run(read.spec, watching, secret) as (observing, outcomes),
        ):
            outcomes.append(run_study(read.spec, url, observing, where, stop, evolve))
    outcome = outcomes[-1]
    arguments = without_addresses(sys.argv[1:])
    given = [argument.replace(storage, shown(url)) if storage else argument for argument in arguments]
    if outcome.has_begun and options.is_read_once(study):
        given = [read.spec.name if argument == study else argument for argument in given]
    for line in outcome_lines(outcome, read.spec, given):
        say(line)
    if outcome.ending == "interrupted":
        sys.exit(130)
    if outcome.record is not None and outcome.record.best is None:
        raise CheckError(f"{outcome.record.without_best_words}; see: cifar-tune status {read.spec.name}")
