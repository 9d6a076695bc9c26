"""`cifar-tune watch`."""

from typing import Annotated

import typer

from cifar_tune.cli import options


def watch(
    study: options.Study,
    storage: options.Storage = None,
    server: options.Server = None,
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
    nobody runs yet is waited for. With a server, it follows what the server tells, also over breaks of the connection,
    and a submitted study is over when its submission has ended.
    """
    from cifar_tune.cli.desk import address_of, server_desk
    from cifar_tune.cli.watching import Watcher, watch_study
    from cifar_tune.storage.urls import storage_url

    address = address_of(storage, server)
    if not address:
        watch_study(Watcher(study, storage_url(storage)), interval, once)
        return
    from cifar_tune.cli.served_studies import served_name
    from cifar_tune.cli.server_watching import ServerWatcher

    with server_desk(address) as desk:
        watch_study(ServerWatcher(desk, served_name(study, desk)), interval, once)
