"""The application on a port, in a thread beside the rest of the process."""

import logging
import socket
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from cifar_tune.dashboard.host_names import LOOPBACK
from cifar_tune.dashboard.listening import refused, require_address
from cifar_tune.errors import UnexpectedError
from cifar_tune.web.door import address_in, source_of
from cifar_tune.web.settings import Limits, Network, WebSettings

_BACKLOG = 2048
KEEP_ALIVE_SECONDS = 15
"""For so long a connection is kept on which nothing is asked; a proxy before the server gives it up earlier."""

_GOODBYE_SECONDS = 2
_HEADER_BYTES = 32_768


class HttpServer:
    """A server that has its port already, and answers as soon as `start` is called.

    Attributes:
        address: where a browser on this machine finds it.
        elsewhere: where one on another machine does, if it listens on all addresses; else empty.

    Args:
        app: what `create_app` has made.
        settings: the same.

    Raises:
        UserError: the address or the port cannot be used; names the nearest free one.
    """

    def __init__(self, app: FastAPI, settings: WebSettings) -> None:
        host = settings.host
        require_address(host)
        # named, since asyncio switches off Nagle's algorithm of such sockets alone: it would hold back bodies for 40 ms
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host, settings.port))
            self._socket.listen(_BACKLOG)
        except OSError as error:
            self._socket.close()
            raise refused(host, settings.port, error) from error
        port = self._socket.getsockname()[1]
        scheme = "https" if settings.has_tls else "http"
        own = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 (nobody can open the address of all)
        self.address = _link(scheme, own, port)
        self.elsewhere = "" if own == host else _link(scheme, socket.gethostname(), port)
        config = uvicorn.Config(
            app,
            http=_protocol(settings),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # `door` decides whose word counts
            server_header=False,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
            limit_concurrency=settings.limits.connections,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GOODBYE_SECONDS,
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)

    def start(self) -> None:
        """Answer requests in a thread; returns at once. The port takes connections already."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no new requests, and end; streams of events are cut after a moment, and browsers come again.

        Nothing is logged of that: a request that is cut is no fault. Its thread may go on after this.
        """
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def run(self, is_over: Callable[[], bool]) -> None:
        """Start, and come back when `is_over` says so, or an exception such as KeyboardInterrupt is raised.

        Raises:
            UnexpectedError: the server has ended by itself.
        """
        self.start()
        try:
            while not is_over():
                self._thread.join(0.2)
                if not self._thread.is_alive():
                    raise UnexpectedError("the HTTP server has ended by itself")
        finally:
            self.stop()


class _PatientProtocol(H11Protocol):
    """Uvicorn's, with limits for clients that are slow or many.

    Uvicorn waits for ever for a request that begins and does not end, and for the rest of a body that nobody wants any
    more. This one gives up a connection on which no request is answered after a while. It takes only so many
    connections from one address, so that one machine cannot take them all.
    """

    limits: Limits
    proxies: tuple[Network, ...]
    open_each: Counter[str]
    _source = ""

    def connection_made(self, transport: Any) -> None:
        """See that something is asked soon."""
        super().connection_made(transport)
        address = "" if self.client is None else self.client[0]
        found = address_in(address)
        if found is None or not any(found in network for network in self.proxies):
            self._source = source_of(address)
            self.open_each[self._source] += 1
            if self.open_each[self._source] > self.limits.connections_each:
                transport.abort()
                return
        self._give_up_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        if self._source:
            self.open_each[self._source] -= 1
            if not self.open_each[self._source]:
                del self.open_each[self._source]

    def on_response_complete(self) -> None:
        """See that the next thing is asked soon."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._give_up_later()

    def _give_up_later(self) -> None:
        self.loop.call_later(self.limits.idle_seconds, self._give_up, self.cycle)

    def _give_up(self, last: RequestResponseCycle | None) -> None:
        """Close the connection if nothing was asked since `last` was answered."""
        is_answered = last is None or last.response_complete
        if self.cycle is last and is_answered and not self.transport.is_closing():
            self.transport.close()


def _protocol(settings: WebSettings) -> type[_PatientProtocol]:
    """The protocol of one server, whose connections are counted together."""

    class Counted(_PatientProtocol):
        """Of this server."""

    Counted.limits, Counted.open_each = settings.limits, Counter()
    Counted.proxies = () if settings.proxy is None else settings.proxy.networks()
    return Counted


def _link(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
