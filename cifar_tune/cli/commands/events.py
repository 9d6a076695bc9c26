"""`cifar-tune events`."""

import json
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def events(
    storage: options.Storage = None,
    server: options.Server = None,
    after: Annotated[
        int | None,
        typer.Option(metavar="N", help="Only events after this number. Default: the newest ones.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", callback=options.within(1), help="How many at most.")] = 50,
    as_json: options.Json = False,
) -> None:
    """Show who did what to submitted studies, tokens and limits, and what was refused. Nothing in this record changes.

    With --json: a list of objects with id (1, 2, 3, ...), at (seconds since the epoch), actor, action, target (a study,
    an owner or null), outcome (done, refused or failed) and detail (an object; why says why it was refused).
    """
    from cifar_tune.cli.desk import NoStorageError, desk_of
    from cifar_tune.cli.queue_lines import event_json, event_lines

    try:
        with desk_of(storage, server) as desk:
            found = desk.events(after, limit)
    except NoStorageError:
        found = []
    if as_json:
        typer.echo(json.dumps([event_json(each) for each in found], indent=2))
        return
    if not found:
        say("nothing has happened" if after is None else f"nothing has happened since event {after}")
    for line in event_lines(found):
        say(line)
