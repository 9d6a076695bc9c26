"""The names and addresses by which browsers may call this machine.

A page elsewhere can let its own name point to this machine; the browser then takes what is served here for a part of
that page (DNS rebinding). The name in the request gives it away.
"""

import re
import socket
from collections.abc import Sequence, Set
from ipaddress import IPv4Address, IPv6Address, ip_address

from cifar_tune.errors import Problem, UserError

LOOPBACK = "127.0.0.1"
"""The address that only this machine can reach."""

_HOST_NAME = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)


def own_names(host: str, allowed: Set[str]) -> Set[str]:
    """The names of a server that listens on `host`, in lower case, with those that the user allowed.

    The machine does not know what a name server or a proxy calls it: that is what the allowed ones are for.
    """
    names = {LOOPBACK, "localhost", host.lower(), *allowed}
    if not is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return names


def allowed_names(given: Sequence[str], option: str = "--allow-host") -> Set[str]:
    """The names that the user gave with `option`, as they are compared: in lower case, without a dot at the end.

    Raises:
        UserError: with each that is no host name.
    """
    problems = []
    for name in given:
        if not _HOST_NAME.fullmatch(name):
            rule = "must be a host name such as gpu-box.example.org, without http:// and without a port"
            problems.append(Problem(rule, option, name))
    if problems:
        raise UserError(problems)
    return {name.lower().rstrip(".") for name in given}


def host_part(header: str) -> str:
    """The host in a Host header, without its port and the brackets of IPv6."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def as_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that the text is; None if it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; of names, localhost alone."""
    address = as_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback
