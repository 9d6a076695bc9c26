"""`cifar-tune queue`."""

import json
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def queue(
    storage: options.Storage = None,
    server: options.Server = None,
    everything: Annotated[bool, typer.Option("--all", help="Also the studies that have ended.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show the submitted studies: what runs, what waits at which position and why, and what is paused.

    With --json: a list of objects: id, study, owner, file, folder, priority, workers (null: as many as fit), trials,
    state (queued, running, paused, done, failed or cancelled), wanted (run, pause or cancel), submitted_at,
    waiting_since, started_at, ended_at (seconds since the epoch, or null), exit_code, message, device_seconds, deaths,
    notify (addresses of others are hidden), waits (why it waits) and position.
    """
    from cifar_tune.cli.desk import NoStorageError, desk_of, note_unless_served
    from cifar_tune.cli.queue_lines import numbers_of, queue_lines, submission_json
    from cifar_tune.service.submissions import in_order

    try:
        with desk_of(storage, server) as desk:
            found = in_order(desk.submissions()) if everything else desk.queue()
            if any(each.is_living for each in found):
                note_unless_served(desk)
    except NoStorageError:
        found = []
    if as_json:
        typer.echo(json.dumps([submission_json(each) for each in found], indent=2))
        return
    if not found:
        say("nothing is queued; submit a study with: cifar-tune submit STUDY")
        return
    say(numbers_of(found))
    for line in queue_lines(found):
        say(line)
