"""`cifar-tune dashboard`."""

from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.streams import say


def dashboard(
    storage: options.Storage = None,
    port: Annotated[int, typer.Option(callback=options.within(0, 65535), help="The port; 0: any free one.")] = 8080,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines in: nobody is asked for a password.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Answer to this name too, such as that of a proxy or one that a name server has. Repeatable.",
            show_default=False,
        ),
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Browse the studies in optuna-dashboard.

    It listens on 127.0.0.1 unless told otherwise, since it has no authentication, and a button that deletes.
    """
    from cifar_tune.dashboard.serve import open_dashboard
    from cifar_tune.storage.urls import storage_url

    page = open_dashboard(storage_url(storage), port, host, allow_remote, allow_host or ())
    say(page.address)
    if page.elsewhere:
        say(f"from other machines: {page.elsewhere}")
    if page.warning:
        say(f"warning: {page.warning}", err=True)
    say("Ctrl-C ends it", err=True)
    try:
        page.serve_forever(open_browser=browse)
    except KeyboardInterrupt:
        say("the dashboard has ended", err=True)
