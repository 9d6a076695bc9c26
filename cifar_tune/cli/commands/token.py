"""`cifar-tune token create`, `list` and `revoke`."""

import json
import time
from typing import Annotated

import typer

from cifar_tune.cli import options
from cifar_tune.cli.whole_process import with_quiet_optuna
from cifar_tune.streams import say

_DAY = 86_400.0

app = typer.Typer(help="Tokens by which a server knows who asks.", no_args_is_help=True)


@app.command("create")
@with_quiet_optuna
def create(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The person who will use it.", show_default=False)],
    storage: options.Storage = None,
    server: options.Server = None,
    role: Annotated[str, typer.Option(help="viewer, editor or admin.")] = "editor",
    label: Annotated[str, typer.Option(help="What it is for, such as laptop.", show_default=False)] = "",
    days: Annotated[
        float | None,
        typer.Option(
            callback=options.within(0.001, 36_500), help="The token expires after this many days.", show_default=False
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Make a token and print it once: the database stores only its hash.

    A viewer sees everything. An editor also submits studies and changes those of the same owner. An admin may do
    everything.

    With --json: an object as `token list --json` has them, and secret.
    """
    from cifar_tune.cli.desk import desk_of
    from cifar_tune.cli.queue_lines import token_json
    from cifar_tune.service.people import role_of

    known = role_of(role, "--role")
    with desk_of(storage, server, makes_storage=True) as desk:
        made, secret = desk.create_token(owner, known, label, None if days is None else time.time() + days * _DAY)
    if as_json:
        typer.echo(json.dumps({**token_json(made), "secret": secret}, indent=2))
        return
    say(f"token {made.id} for {made.owner} ({made.role}); it is not shown again:", err=True)
    say(secret)


@app.command("list")
@with_quiet_optuna
def list_tokens(storage: options.Storage = None, server: options.Server = None, as_json: options.Json = False) -> None:
    """Show all tokens, without their secrets.

    With --json: a list of objects with id, owner, role, label, created_by, created_at, expires_at, used_at and
    revoked_at (seconds since the epoch, or null).
    """
    from cifar_tune.cli.desk import NoStorageError, desk_of
    from cifar_tune.cli.queue_lines import token_json, token_lines

    try:
        with desk_of(storage, server) as desk:
            found = desk.tokens()
    except NoStorageError:
        found = []
    if as_json:
        typer.echo(json.dumps([token_json(each) for each in found], indent=2))
        return
    if not found:
        say("there are no tokens; make one with: cifar-tune token create OWNER")
        return
    for line in token_lines(found):
        say(line)


@app.command("revoke")
@with_quiet_optuna
def revoke(
    number: Annotated[
        int, typer.Argument(metavar="N", help="The number of the token, as `token list` shows it.", show_default=False)
    ],
    storage: options.Storage = None,
    server: options.Server = None,
) -> None:
    """Revoke a token: from now on it opens nothing."""
    from cifar_tune.cli.desk import NoStorageError, desk_of
    from cifar_tune.errors import Problem, UserError

    try:
        with desk_of(storage, server) as desk:
            revoked = desk.revoke_token(number)
    except NoStorageError as error:
        raise UserError(Problem("there is no database yet, so there are no tokens", "N", number)) from error
    say(f"revoked token {revoked.id} of {revoked.owner}")
