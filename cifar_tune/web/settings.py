"""How the service may be reached, and what people may submit: the administrator's part."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from cifar_tune.dashboard.host_names import LOOPBACK, allowed_names, is_loopback
from cifar_tune.dashboard.listening import HIGHEST_PORT
from cifar_tune.errors import Problem, UserError, all_at_once
from cifar_tune.web.oidc_settings import OidcSettings

DEFAULT_PORT = 8000
HTTPS_PORT = 443

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """A proxy that has asked people who they are, and says so in headers of its own.

    Whatever comes from `addresses` is believed, and nothing else is: from all other addresses, the headers say nothing.

    Attributes:
        addresses: of the proxy, such as `10.0.0.5` or `10.0.0.0/28`.
        user_header: holds the name of the person.
        role_header: holds viewer, editor or admin. None: everybody has `role`.
        role: of whoever comes without that header.
    """

    addresses: tuple[str, ...]
    user_header: str = "X-Forwarded-User"
    role_header: str | None = None
    role: str = "viewer"

    def networks(self) -> tuple[Network, ...]:
        """The addresses as they are compared.

        Raises:
            UserError: with each that is no address.
        """
        found: list[Network] = []
        with all_at_once() as stage:
            for text in self.addresses:
                with stage:
                    try:
                        found.append(ip_network(text, strict=False))
                    except ValueError as error:
                        rule = "must be an address or a network, such as 10.0.0.5 or 10.0.0.0/28"
                        raise UserError(Problem(rule, "--trusted-proxy", text)) from error
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request, one client and all of them together may take.

    Attributes:
        body_bytes: of one request.
        body_seconds: until a request must have sent its whole body.
        idle_seconds: of a connection on which nothing is asked, or a request begins and does not end.
        page: the most studies, trials or events in one answer.
        listeners: event streams that are open at the same time.
        listeners_each: the same of one person.
        failures: wrong tokens from one address within `failure_seconds`; then it waits.
        failure_seconds: how long a wrong token counts.
        connections: that are open at the same time.
        connections_each: the same from one address, or one network of IPv6; of a trusted proxy, all of them.
    """

    body_bytes: int = 300_000
    body_seconds: float = 20.0
    idle_seconds: float = 20.0
    page: int = 500
    listeners: int = 200
    listeners_each: int = 20
    failures: int = 10
    failure_seconds: float = 60.0
    connections: int = 1000
    connections_each: int = 600


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What the administrator has decided.

    Attributes:
        host: the address to listen on.
        port: the port; 0 takes any free one.
        allow_hosts: names by which browsers may ask for the service, beside those that the machine gives itself.
        allow_plain: other machines may come without TLS, and without a proxy that has it.
        certificate: the file with the certificate for TLS, and those above it.
        key: the file with its key.
        proxy: that says who people are; None if nobody does.
        data_folder: the folder in which the images of submitted studies lie. None: only sources without `data.root`.
        plugins: names of installed packages of parts that submitted studies may use.
        session_hours: after which a browser asks for the token again.
        limits: see there.
        oidc: the identity provider that people may log in with; None: they log in with tokens alone.
    """

    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    allow_hosts: tuple[str, ...] = ()
    allow_plain: bool = False
    certificate: Path | None = None
    key: Path | None = None
    proxy: TrustedProxy | None = None
    data_folder: Path | None = None
    plugins: tuple[str, ...] = ()
    session_hours: float = 12.0
    limits: Limits = field(default_factory=Limits)
    oidc: OidcSettings | None = None

    @property
    def session_seconds(self) -> float:
        """The same as `session_hours`."""
        return self.session_hours * 3600

    @property
    def names(self) -> Set[str]:
        """The names by which browsers may ask for the service, beside those that the machine gives itself.

        Raises:
            UserError: one of them is no host name.
        """
        named = allowed_names(self.allow_hosts)
        return named if self.oidc is None or is_loopback(self.oidc.host) else {*named, self.oidc.host}

    @property
    def has_tls(self) -> bool:
        """Whether the service itself speaks TLS."""
        return self.certificate is not None


_FILES: Mapping[str, str] = {"certificate": "--tls-certificate", "key": "--tls-key"}


def check_settings(settings: WebSettings) -> None:
    """Refuse what would let strangers in, or cannot work.

    Raises:
        UserError: with everything that is wrong.
    """
    with all_at_once() as stage:
        with stage:
            if not 0 <= settings.port <= HIGHEST_PORT:
                raise UserError(Problem(f"must be a whole number from 0 to {HIGHEST_PORT}", "--port", settings.port))
        with stage:
            allowed_names(settings.allow_hosts)
        with stage:
            if settings.oidc is not None:
                settings.oidc.check()
        with stage:
            if settings.proxy is not None:
                settings.proxy.networks()
        with stage:
            if (settings.certificate is None) != (settings.key is None):
                raise UserError(
                    Problem("need each other: TLS takes a certificate and its key", " and ".join(_FILES.values()))
                )
        for name, option in _FILES.items():
            with stage:
                file: Path | None = getattr(settings, name)
                if file is not None and not file.is_file():
                    raise UserError(Problem("there is no such file", option, str(file)))
        with stage:
            if settings.data_folder is not None and not settings.data_folder.is_dir():
                raise UserError(Problem("there is no such folder", "--data-folder", str(settings.data_folder)))
        with stage:
            _refuse_plain(settings)


def _refuse_plain(settings: WebSettings) -> None:
    """Tokens and cookies that cross a network in the clear can be read and used by anybody who sees the traffic."""
    if is_loopback(settings.host) or settings.has_tls or settings.proxy is not None or settings.allow_plain:
        return
    rule = (
        "can be reached by other machines, and without TLS everybody on the way can read the tokens: add "
        "--tls-certificate and --tls-key, or let a proxy that has TLS stand before it (--trusted-proxy ADDRESS); if "
        "the network is safe all the same, add --allow-plain-http"
    )
    raise UserError(Problem(rule, "--host", settings.host))
