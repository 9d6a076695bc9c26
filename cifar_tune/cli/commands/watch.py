"""`cifar-tune watch`."""

from typing import Annotated

import typer

from cifar_tune.cli import options


def watch(
    study: options.Study,
    storage: options.Storage = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    interval: Annotated[
        float,
        typer.Option(
            callback=options.within(0.2), metavar="SECONDS", help="Seconds between two updates, at least 0.2."
        ),
    ] = 2.0,
) -> None:
    """Watch a study from another terminal or machine, until it ends: states, best, running trials, who runs it.

    It reads the database alone and writes nothing. It ends when the budget is used up or the run is over; a study that
    nobody runs yet is waited for.
    """
    from cifar_tune.cli.watching import watch_study
    from cifar_tune.storage.urls import storage_url

    watch_study(study, storage_url(storage), interval, once)
