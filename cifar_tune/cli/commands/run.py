"""`cifar-tune run`."""

import shlex
import sys
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.errors import CheckError, Problem, UserError


def run(
    study: options.Study,
    storage: options.Storage = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials in total, earlier runs included.", show_default=False)
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="Time in total, such as 45m or 2h.", show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time, each in a process of its own.")] = 1,
    devices: Annotated[str, typer.Option(help="auto, cpu, or a list such as cuda:0,cuda:1.")] = "auto",
    engine: Annotated[str, typer.Option(help="Where trials run: local.")] = "local",
    settings: options.Set = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Create a study, or continue it up to its budget."""
    from cifar_tune.cli.find_study import find_spec
    from cifar_tune.cli.progress import observer
    from cifar_tune.cli.summary_lines import outcome_lines
    from cifar_tune.storage.urls import shown, storage_url
    from cifar_tune.study.run import run_study
    from cifar_tune.study_spec.overrides import Override

    if engine != "local":
        raise UserError(Problem("must be local: no other engine is built yet", "--engine", engine))
    url = storage_url(storage)
    more = [
        Override(f"budget.{key}", value, f"--{key}")
        for key, value in (("trials", trials), ("timeout", timeout))
        if value is not None
    ]
    read = find_spec(study, url, settings, more)
    with observer(read.spec, quiet) as watching:
        for note in read.notes:
            watching.note(note)
        outcome = run_study(read.spec, url, watching, workers, [name.strip() for name in devices.split(",")])
    given = [argument.replace(storage, shown(url)) if storage else argument for argument in sys.argv[1:]]
    for line in outcome_lines(outcome, read.spec, shlex.join(["cifar-tune", *given])):
        typer.echo(line)
    if outcome.ending == "interrupted":
        sys.exit(130)
    if outcome.record is not None and outcome.record.best is None:
        constraints = ", ".join(str(constraint) for constraint in read.spec.constraints)
        completed = outcome.record.counts["COMPLETE"]
        what = "not one completed trial" if not completed else f"no completed trial that keeps all of: {constraints}"
        raise CheckError(f"the study {read.spec.name!r} has {what}; see: cifar-tune status {read.spec.name}")
