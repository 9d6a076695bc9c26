"""Options of `serve` for log-in with an identity provider (OpenID Connect)."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifar_tune.cli.options import path
from cifar_tune.errors import Problem, UserError, all_at_once

if TYPE_CHECKING:
    from cifar_tune.web.oidc_settings import OidcSettings

SECRET_VARIABLE = "CIFAR_TUNE_OIDC_SECRET"  # noqa: S105 (the name of a variable)
INSTALL = "pip install 'cifar-tune[service,oidc]'"

Issuer = Annotated[
    str | None,
    typer.Option(
        "--oidc-issuer", metavar="URL", help="An identity provider that people may log in with.", show_default=False
    ),
]
ClientId = Annotated[
    str | None,
    typer.Option("--oidc-client-id", metavar="ID", help="What this server is called there.", show_default=False),
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--oidc-secret-file",
        metavar="FILE",
        help=f"The client secret, in a file of mode 600. Default: {SECRET_VARIABLE}.",
        show_default=False,
        callback=path,
    ),
]
PublicAddress = Annotated[
    str | None,
    typer.Option(
        "--public-address",
        metavar="URL",
        help="This server as browsers see it; the provider sends people back there.",
        show_default=False,
    ),
]
Label = Annotated[
    str,
    typer.Option(
        "--oidc-label", metavar="NAME", help="The provider on the log-in page. Default: its host.", show_default=False
    ),
]
NameClaim = Annotated[
    str, typer.Option("--oidc-name-claim", metavar="CLAIM", help="The claim with the name of a person.")
]
GroupsClaim = Annotated[
    str, typer.Option("--oidc-groups-claim", metavar="CLAIM", help="The claim with the groups of a person.")
]
Roles = Annotated[
    list[str] | None,
    typer.Option("--oidc-role", metavar="ROLE=GROUP", help="The role of a group. Repeatable.", show_default=False),
]
DefaultRole = Annotated[
    str,
    typer.Option("--oidc-default-role", metavar="ROLE", help="The role of people in none of them; none: no entry."),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--oidc-scope", metavar="NAME", help="A scope to ask for too, such as groups. Repeatable.", show_default=False
    ),
]


def oidc_settings(
    issuer: str | None,
    client_id: str | None,
    secret_file: Path | None,
    address: str | None,
    label: str,
    name_claim: str,
    groups_claim: str,
    roles: list[str] | None,
    role: str,
    scopes: list[str] | None,
) -> "OidcSettings | None":
    """What these options say; None where no provider is named. The secret is taken out of the environment.

    Raises:
        UserError: with everything that is missing.
    """
    from cifar_tune.client.token_file import secret_in
    from cifar_tune.web.oidc_settings import OidcSettings

    given = os.environ.pop(SECRET_VARIABLE, "").strip()  # the plugins of a study have no business with it
    needed = {"--oidc-issuer": issuer, "--oidc-client-id": client_id, "--public-address": address}
    if not any(needed.values()) and not roles and secret_file is None:
        return None
    secret = given
    with all_at_once() as stage:
        for option, value in needed.items():
            with stage:
                if not value:
                    others = ", ".join(each for each in needed if each != option)
                    raise UserError(Problem(f"is missing: log-in with OpenID Connect needs it, and {others}", option))
        with stage:
            if secret_file is not None:
                secret = secret_in(secret_file, "the client secret")
            if not secret:
                rule = f"is missing: set {SECRET_VARIABLE}, or write it into a file for --oidc-secret-file"
                raise UserError(Problem(rule, "the client secret"))
        with stage:
            if find_spec("authlib") is None:
                raise UserError(Problem(f"needs authlib: {INSTALL}", "--oidc-issuer"))
    return OidcSettings(
        issuer or "",
        client_id or "",
        secret,
        address or "",
        label,
        name_claim,
        tuple(scopes or ()),
        groups_claim,
        tuple(roles or ()),
        role,
    )
