"""`cifar-tune owner`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def owner(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Whose limits to change; * for everybody else.", show_default=False),
    ] = None,
    storage: options.Storage = None,
    server: options.Server = None,
    weight: Annotated[
        float | None, typer.Option(help="Weight in the fair share: 2 gets twice the time of 1.", show_default=False)
    ] = None,
    slots: Annotated[int | None, typer.Option(help="At most this many slots at a time.", show_default=False)] = None,
    queued: Annotated[int | None, typer.Option(help="At most this many studies that wait.", show_default=False)] = None,
    trials: Annotated[
        int | None, typer.Option(help="At most this many trials in studies that have not ended.", show_default=False)
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget what was said of NAME before.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show what the owners of studies may use, or change it for one of them.

    A figure in brackets is that of *, which holds for whoever has none of their own.

    With --json: a list of objects with name, weight, slots, queued and trials (null: as for *, and for * no limit).
    """
    from cifar_tune.cli.desk import NoStorageError, desk_of
    from cifar_tune.cli.queue_lines import table
    from cifar_tune.errors import Problem, UserError
    from cifar_tune.service.owners import EVERYBODY, Owner

    given = Owner(name or "", weight, slots, queued, trials)
    changes = reset or any(value is not None for value in (weight, slots, queued, trials))
    if changes and name is None:
        raise UserError(Problem("say whose limits to change, or * for everybody else", "NAME"))
    try:
        with desk_of(storage, server, makes_storage=changes) as desk:
            if changes:
                desk.set_owner(given, reset)
            known = desk.owners()
    except NoStorageError:
        known = []
    found = [each for each in known if name in (None, each.name)]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    if not found:
        say(
            "nothing is said of anybody: all have weight 1 and no limits"
            if name is None
            else f"nothing is said of {name}"
        )
        return
    rows: list[tuple[str, ...]] = [("owner", "weight", "slots", "queued", "trials")]
    rest = next((each for each in known if each.name == EVERYBODY), Owner(EVERYBODY))
    for each in found:
        figures = [_shown(getattr(each, key), getattr(rest, key)) for key in rows[0][1:]]
        rows.append((each.name, *figures))
    for line in table(rows):
        say(line)


def _shown(own: float | None, of_rest: float | None) -> str:
    value = of_rest if own is None else own
    if value is None:
        return "-"
    words = f"{value:g}" if isinstance(value, float) else str(value)
    return words if own is not None else f"({words})"
