"""Options that say where trials run, for the commands that run some."""

from typing import Annotated

import typer

from cifar_tune.cli.options import within
from cifar_tune.errors import Problem, UserError, all_at_once
from cifar_tune.executors.options import ExecutorOptions

Workers = Annotated[
    str, typer.Option(help="Trials at a time, each in its own process; auto: as many as there is room for.")
]
Devices = Annotated[str, typer.Option(help="auto, cpu, or a list such as cuda:0,cuda:1.")]
Engine = Annotated[str, typer.Option(help="Where trials run: local, or ray, on a cluster.")]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The Ray cluster. Default: RAY_ADDRESS, or the one on this machine. local: start one for this run.",
        show_default=False,
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        callback=within(0, 1),
        help="With ray: a worker's share of a GPU, 0 to 1. Default: 1 if there are GPUs.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]


def executor_options(
    workers: str, devices: str, engine: str, address: str | None, gpus_per_worker: float | None
) -> ExecutorOptions:
    """What these options say.

    Raises:
        UserError: with everything that is wrong with them.
    """
    with all_at_once() as stage:
        count: int | None = 1
        with stage:
            count = _count(workers)
        names = tuple(name.strip() for name in devices.split(","))
        where = ExecutorOptions(engine, count, names, address, gpus_per_worker)
        with stage:
            where.check()
    return where


def _count(workers: str) -> int | None:
    if workers == "auto":
        return None
    if not workers.isascii() or not workers.isdecimal() or int(workers) < 1:
        raise UserError(Problem("must be a whole number >= 1, or auto", "--workers", workers))
    return int(workers)
