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
    """Show the submitted studies: what runs and how far it is, what waits at which position and why, what is paused.

    With --json: a list of objects: id, study, owner, file, folder, priority, workers (null: as many as fit), trials,
    state (queued, running, paused, done, failed or cancelled), wanted (run, pause or cancel), submitted_at,
    waiting_since, started_at, ended_at (seconds since the epoch, or null), exit_code, message, device_seconds, deaths,
    notify (addresses of others are hidden), waits (why it waits), position, and so_far (null before the first run and
    of studies that have ended, else an object: finished and running trials, metric, best value and its trial).
    """
    from cifar_tune.cli.desk import NoStorageError, desk_of, note_unless_served
    from cifar_tune.cli.queue_lines import numbers_of, queue_lines, submission_json
    from cifar_tune.service.submissions import in_order

    try:
        with desk_of(storage, server) as desk:
            found = desk.queue()
            if everything:
                found = in_order(list({each.id: each for each in (*desk.submissions(), *found)}.values()))
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
