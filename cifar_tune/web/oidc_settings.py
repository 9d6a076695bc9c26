"""Which identity provider people may log in with (OpenID Connect), and which role its groups have here.

Nothing here needs Authlib, which is an extra.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from cifar_tune.dashboard.host_names import is_loopback
from cifar_tune.errors import Problem, UserError, all_at_once
from cifar_tune.service.people import ROLES, Role, role_of

CALLBACK = "/login/oidc/callback"
"""Where the provider sends people back to."""

NOBODY = "none"
"""Instead of a role: whoever is in none of the groups stays outside."""

EMAIL = "email"

MINUTES = 10
"""So long may somebody take to log in at the provider."""


class LogInError(Exception):
    """Why nobody was let in; the text is for people, and holds no secret.

    Args:
        words: a sentence.
        status: of the answer.
    """

    def __init__(self, words: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """One provider.

    Attributes:
        issuer: as the provider calls itself; `/.well-known/openid-configuration` below it says the rest.
        client_id: by which the provider knows this server.
        secret: that goes with it.
        address: of this server, as browsers see it, such as `https://tune.example.org`.
        label: what the log-in page calls the provider; empty: its host.
        name_claim: the claim with the name of a person. An e-mail address counts only if the provider has verified it.
        scopes: that are asked for besides `openid`, `email` and `profile`.
        groups_claim: the claim with the groups of a person.
        roles: the groups of each role, each as `admin=GROUP`. Of several roles a person has the most powerful one.
        role: of whoever is in none of them, or `none`.
    """

    issuer: str
    client_id: str
    secret: str = field(repr=False)
    address: str
    label: str = ""
    name_claim: str = EMAIL
    scopes: tuple[str, ...] = ()
    groups_claim: str = "groups"
    roles: tuple[str, ...] = ()
    role: str = NOBODY

    @property
    def shown(self) -> str:
        """What people call the provider."""
        return self.label or urlsplit(self.issuer).hostname or self.issuer

    @property
    def host(self) -> str:
        """The name by which browsers ask for this server."""
        return urlsplit(self.address).hostname or ""

    @property
    def callback(self) -> str:
        """The whole address that the provider sends people back to; the provider has to know it."""
        return self.address.rstrip("/") + CALLBACK

    def role_in(self, groups: Iterable[str]) -> Role | None:
        """The role of somebody who is in these groups; None for nobody that may come in."""
        given = set(groups)
        roles = [role for role, group in self._mapping() if group in given]
        if roles:
            return max(roles, key=ROLES.index)
        return None if self.role == NOBODY else role_of(self.role)

    def _mapping(self) -> list[tuple[Role, str]]:
        pairs = [each.partition("=") for each in self.roles]
        return [(role_of(role.strip(), "--oidc-role"), group.strip()) for role, _, group in pairs]

    def check(self) -> None:
        """Refuse what cannot work, or lets strangers in.

        Raises:
            UserError: with everything that is wrong.
        """
        with all_at_once() as stage:
            for option, url in {"--oidc-issuer": self.issuer, "--public-address": self.address}.items():
                with stage:
                    _require_safe(url, option)
            with stage:
                _require_no_path(self.address)
            for option, text in {"--oidc-client-id": self.client_id, "--oidc-name-claim": self.name_claim}.items():
                with stage:
                    if not text.strip():
                        raise UserError(Problem("must not be empty", option))
            for each in self.roles:
                with stage:
                    role, _, group = each.partition("=")
                    if not group.strip():
                        rule = "must be a role and a group, such as admin=gpu-admins"
                        raise UserError(Problem(rule, "--oidc-role", each))
                    role_of(role.strip(), "--oidc-role")
            with stage:
                if self.role != NOBODY:
                    role_of(self.role, "--oidc-default-role")
                elif not self.roles:
                    rule = (
                        "lets nobody in: name groups that have a role (--oidc-role editor=GROUP), or a role for "
                        "everybody who has an account there (--oidc-default-role viewer)"
                    )
                    raise UserError(Problem(rule, "--oidc-issuer", self.issuer))


def is_safe(url: str, issuer: str) -> bool:
    """Whether a provider's address may be used: with TLS, unless the provider itself is on this machine."""
    return _scheme_and_host(url) is not None and (url.startswith("https://") or issuer.startswith("http://"))


def _scheme_and_host(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    is_sound = url.isprintable() and " " not in url and not parts.username and not parts.fragment
    return (parts.scheme, host) if is_sound and host and parts.scheme in ("http", "https") else None


def _require_safe(url: str, option: str) -> None:
    found = _scheme_and_host(url)
    example: Mapping[str, str] = {"--oidc-issuer": "https://login.example.org/realms/lab"}
    if found is None:
        rule = f"must be an address such as {example.get(option, 'https://tune.example.org')}"
        raise UserError(Problem(rule, option, url))
    scheme, host = found
    if scheme == "http" and not is_loopback(host):
        raise UserError(Problem("must begin with https://: others can read and change what has no TLS", option, url))


def _require_no_path(address: str) -> None:
    parts = urlsplit(address)
    if parts.path not in ("", "/") or parts.query:
        raise UserError(Problem("must end after the host and port", "--public-address", address))
