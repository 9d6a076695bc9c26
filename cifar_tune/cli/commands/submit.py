"""`cifar-tune submit`."""

import json
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def submit(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="A study file, or the name of a study that was submitted before.", show_default=False
        ),
    ],
    storage: options.Storage = None,
    server: options.Server = None,
    priority: Annotated[int, typer.Option(metavar="N", help="The higher, the sooner; -1000 to 1000.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="At most this many trials at a time. Default: as many as fit.", show_default=False
        ),
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            "--notify",
            metavar="URL",
            help="Also send news of the study to this address. Repeatable.",
            show_default=False,
        ),
    ] = None,
    settings: options.Set = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it, and end with its exit code.")] = False,
    as_json: options.Json = False,
) -> None:
    """Queue a study for the service, which runs it when there is room.

    The study file is checked as `run` checks it, and stored with --set applied. A study that has ended can be submitted
    again under its name, with a larger budget. Ctrl-C ends --wait, and the study goes on.

    With --json: one object as `queue --json` has them; with --wait, as it is at the end.
    """
    from cifar_tune.cli.desk import desk_of, note_unless_served
    from cifar_tune.cli.queue_lines import submission_json
    from cifar_tune.cli.submitting import study_to_submit, teller, wait_for_end

    with desk_of(storage, server, makes_storage=True) as desk:
        found = study_to_submit(study, desk)
        addresses = [*dict.fromkeys((*found.notify, *(notify or ())))]
        made = desk.submit(found.text, found.file, settings or (), priority, workers, addresses, found.folder)
        for text in made.notes:
            say(f"note: {text}", err=True)
        if not as_json:
            say(f"queued {made.study} (submission {made.id})")
        elif not wait:
            typer.echo(json.dumps(submission_json(made), indent=2))
        note_unless_served(desk)
        if not wait:
            return
        with teller() as told:
            ended = wait_for_end(desk, made, told)
        if as_json:
            typer.echo(json.dumps(submission_json(ended), indent=2))
        else:
            say(f"{ended.study} has ended: {ended.state}{f' ({ended.message})' if ended.message else ''}")
    raise typer.Exit(1 if ended.exit_code is None else ended.exit_code)
