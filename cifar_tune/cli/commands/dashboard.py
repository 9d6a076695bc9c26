"""`cifar-tune dashboard`."""

from typing import Annotated

import typer

from cifar_tune.cli import options


def dashboard(
    storage: options.Storage = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    browse: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Browse the studies in optuna-dashboard, on 127.0.0.1 alone: it has no authentication, and it can delete."""
    from cifar_tune.dashboard.serve import open_dashboard
    from cifar_tune.storage.urls import storage_url

    page = open_dashboard(storage_url(storage), port)
    typer.echo(page.address)
    typer.echo("Ctrl-C ends it", err=True)
    page.serve_forever(open_browser=browse)
