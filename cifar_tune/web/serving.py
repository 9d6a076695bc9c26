"""The application on a port, in a thread beside the rest of the process."""

import socket
from collections.abc import Callable
from threading import Thread
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from cifar_tune.dashboard.host_names import LOOPBACK
from cifar_tune.dashboard.listening import refused, require_address
from cifar_tune.errors import UnexpectedError
from cifar_tune.web.settings import WebSettings

_BACKLOG = 2048
_FIRST_REQUEST_SECONDS = 20.0
_KEEP_ALIVE_SECONDS = 15
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
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
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
            http=_PatientProtocol,
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
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GOODBYE_SECONDS,
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)

    def start(self) -> None:
        """Answer requests in a thread; returns at once. The port takes connections already."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no new requests, and end; streams of events are cut after a moment, and browsers come again."""
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
    """Uvicorn's, which waits for the first request of a connection for ever; this one gives up after a while."""

    def connection_made(self, transport: Any) -> None:
        """See that something is asked soon."""
        super().connection_made(transport)
        self.loop.call_later(_FIRST_REQUEST_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if getattr(self, "cycle", None) is None and not self.transport.is_closing():
            self.transport.close()


def _link(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
