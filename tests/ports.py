"""Ports that tests know before a server takes them, or after it has given them back."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port of this machine that nobody else gets in the block; who connects to it is refused.

    Servers that may take over a port from one that has just ended (SO_REUSEADDR) can take it, one after the other.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":  # elsewhere a port that somebody holds is taken
            holder.close()
        yield port
