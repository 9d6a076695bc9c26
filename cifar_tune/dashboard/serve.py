"""Serves optuna-dashboard on a storage, to this machine alone."""

import errno
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi
from sqlalchemy.engine import URL

from cifar_tune.dashboard.made_files import MadeFiles
from cifar_tune.dashboard.report_pages import ReportPages
from cifar_tune.dashboard.shown_storage import ShownStorage
from cifar_tune.errors import Problem, UserError
from cifar_tune.storage.rdb import close, open_existing
from cifar_tune.storage.urls import artifacts_folder, shown

HOST = "127.0.0.1"
"""The only address: the page asks nobody for a password, and it offers to delete studies."""

DEFAULT_PORT = 8080
_FIRST_FREE_PORT = 1024  # those below belong to the system
_HIGHEST_PORT = 65535


class Dashboard:
    """A dashboard that listens already, and answers as soon as `serve_forever` runs.

    Attributes:
        address: where a browser finds it.
    """

    def __init__(self, storage: RDBStorage, server: WSGIServer) -> None:
        self.address = f"http://{HOST}:{server.server_port}/dashboard"
        self._storage = storage
        self._server = server

    def serve_forever(self, open_browser: bool = False) -> None:
        """Answer requests until `shutdown` is called, or KeyboardInterrupt is raised; then close everything."""
        if open_browser:
            # in a thread of its own: a browser in the terminal returns only when it is left
            threading.Thread(target=webbrowser.open, args=(self.address,), daemon=True).start()
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._server.server_close()
            close(self._storage)

    def shutdown(self) -> None:
        """End `serve_forever`, which runs in another thread."""
        self._server.shutdown()


def open_dashboard(url: URL, port: int = DEFAULT_PORT) -> Dashboard:
    """Open the storage and start listening on 127.0.0.1; port 0 takes any free one. Nothing is printed.

    Raises:
        UserError: if there is no such storage, or the port cannot be had; names the nearest free one.
        CheckError: if the database does not answer.
    """
    if not 0 <= port <= _HIGHEST_PORT:
        raise UserError(Problem(f"must be a whole number from 0 to {_HIGHEST_PORT}", "port", port))
    storage = open_existing(url)
    if storage is None:
        raise UserError(Problem("does not exist yet; `cifar-tune run` makes it with its first study", shown(url)))
    app = _only_asked_by_name(_pages(storage))
    try:
        return Dashboard(storage, make_server(HOST, port, app, _Server, _QuietHandler))
    except OSError as error:
        close(storage)
        raise _refused(port, error) from error


def _pages(storage: RDBStorage) -> WSGIApplication:
    """optuna-dashboard with our notes and files, and our reports beside it."""
    files = MadeFiles(storage, FileSystemArtifactStore(_made_folder(artifacts_folder())))
    return ReportPages(storage, wsgi(ShownStorage(storage), artifact_store=files))


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at a time: a page asks for its parts all at once, and some take seconds."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that went away in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _QuietHandler(WSGIRequestHandler):
    """Writes no line per request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Write nothing."""


def _only_asked_by_name(app: WSGIApplication) -> WSGIApplication:
    """Refuse requests for any other host than this machine.

    A page elsewhere can let its own name point to 127.0.0.1; the browser then takes the dashboard for a part of that
    page. The name in the request gives it away.
    """

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("HTTP_HOST", "").split(":")[0] in (HOST, "localhost"):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"The dashboard answers to {HOST} and localhost only.\n".encode()]

    return guarded


def _made_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(Problem(f"the folder cannot be made: {error.strerror}", source=str(folder))) from error
    return folder


def _refused(port: int, error: OSError) -> UserError:
    rule = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
    free = next(filter(_is_free, range(max(port, _FIRST_FREE_PORT - 1) + 1, _HIGHEST_PORT + 1)), None)
    return UserError(Problem(rule if free is None else f"{rule}; the next free one is {free}", "port", port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
