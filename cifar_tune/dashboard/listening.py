"""Addresses and ports to listen on, and why one cannot be used."""

import errno
import socket

from cifar_tune.dashboard.host_names import LOOPBACK
from cifar_tune.errors import Problem, UserError

_FIRST_FREE_PORT = 1024  # those below belong to the system
HIGHEST_PORT = 65535


def require_address(host: str) -> None:
    """See that this is an address of this machine, or a name of it.

    Raises:
        UserError: it is neither.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host, None, family)
    except (OSError, UnicodeError) as error:
        rule = "is neither an address nor a known name of this machine; 0.0.0.0 is all of its addresses"
        raise UserError(Problem(rule, "--host", host)) from error


def refused(host: str, port: int, error: OSError) -> UserError:
    """What to raise where the system refuses an address or a port; names the next free port."""
    if error.errno == errno.EADDRNOTAVAIL:
        return UserError(Problem("is not an address of this machine; 0.0.0.0 is all of them", "--host", host))
    rule = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
    free = next(filter(_is_free, range(max(port, _FIRST_FREE_PORT - 1) + 1, HIGHEST_PORT + 1)), None)
    return UserError(Problem(rule if free is None else f"{rule}; the next free one is {free}", "port", port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
