"""`cifar-tune dashboard`."""

from typing import Annotated

import typer

from cifar_tune.cli import options


def dashboard(
    storage: options.Storage = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
) -> None:
    """Browse the studies in optuna-dashboard, on 127.0.0.1."""
    raise NotImplementedError
