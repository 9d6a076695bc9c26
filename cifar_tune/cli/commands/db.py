"""`cifar-tune db upgrade`, `check` and `backup`."""

from pathlib import Path
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.cli.whole_process import with_quiet_optuna
from cifar_tune.streams import say

app = typer.Typer(help="Looks after the database.", no_args_is_help=True)


@app.command("upgrade")
@with_quiet_optuna
def upgrade(storage: options.Storage = None) -> None:
    """Bring the service's own tables to the version of this program. Every command of the service does so too."""
    from cifar_tune.cli.database import opened_database
    from cifar_tune.service import schema
    from cifar_tune.service.tables import VERSION

    with opened_database(storage) as database:
        before = schema.upgrade(database.engine)
    if before == VERSION:
        say(f"the tables of the service have version {VERSION} already")
    else:
        say(f"the tables of the service have version {VERSION} now; {f'it was {before}' if before else 'they are new'}")


@app.command("check")
@with_quiet_optuna
def check(storage: options.Storage = None) -> None:
    """Check the database and the service's own tables; ends with 1 where something is wrong."""
    from cifar_tune.cli.database import opened_database
    from cifar_tune.errors import CheckError
    from cifar_tune.service.checking import check_database

    with opened_database(storage) as database:
        found = check_database(database.engine)
    for line in found.lines:
        say(line)
    if found.faults:
        raise CheckError("\n".join(found.faults))


@app.command("backup")
@with_quiet_optuna
def backup(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The file to write, which must not exist yet.",
            show_default=False,
            callback=options.path,
        ),
    ],
    storage: options.Storage = None,
) -> None:
    """Copy the database into a file, also while studies run.

    Of SQLite this is a database again. Of PostgreSQL it is an archive for pg_restore, and a pg_dump must be
    installed that is not older than the server.
    Checkpoints and models are files of their own: copy the artifacts folder too.
    """
    from cifar_tune.service.backup import back_up
    from cifar_tune.storage.urls import storage_url

    url = storage_url(storage)
    size = back_up(url, file)
    say(f"wrote {file} ({size / 2**20:.1f} MiB)")
