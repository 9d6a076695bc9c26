"""Serves optuna-dashboard on a storage, to this machine alone unless one asks for more."""

import socket
import sys
import threading
import webbrowser
from collections.abc import Iterable, Sequence, Set
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Lock
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage
from optuna_dashboard import wsgi
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.dashboard.host_names import LOOPBACK, allowed_names, as_address, host_part, is_loopback, own_names
from cifar_tune.dashboard.listening import HIGHEST_PORT, refused, require_address
from cifar_tune.dashboard.made_files import MadeFiles
from cifar_tune.dashboard.report_pages import ReportPages
from cifar_tune.dashboard.same_site import same_site_only
from cifar_tune.dashboard.shown_importances import ShownImportances
from cifar_tune.dashboard.shown_storage import ShownStorage
from cifar_tune.dashboard.study_detail import StudyDetail
from cifar_tune.dashboard.study_list import StudyList
from cifar_tune.errors import Problem, UserError, enumerate_names
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.kept_importances import KeptImportances
from cifar_tune.storage.cached import CachedStorage
from cifar_tune.storage.opened_file import DatabaseGoneError
from cifar_tune.storage.rdb import close, open_existing, without_studies
from cifar_tune.storage.urls import artifacts_folder, shown, sqlite_file

HOST = LOOPBACK
"""The address unless one asks for another: the page asks nobody for a password, and it offers to delete studies."""

_CONSEQUENCE = "the dashboard has no authentication: whoever reaches it can read every study, and delete it"

DEFAULT_PORT = 8080

_LOOK_SECONDS = 0.2
"""How often a dashboard looks whether it is to end."""


class Dashboard:
    """A dashboard that listens already, and answers as soon as `serve_forever` runs.

    Attributes:
        address: where a browser on this machine finds it.
        elsewhere: where one on another machine does, if it listens on all addresses; else empty.
        warning: what there is to fear; empty where only this machine can reach it.
    """

    def __init__(self, storage: RDBStorage, server: WSGIServer, host: str) -> None:
        own = {"0.0.0.0": HOST, "::": "::1"}.get(host, host)  # noqa: S104 (nobody can open the address of all addresses)
        self.address = _link(own, server.server_port)
        self.elsewhere = "" if own == host else _link(socket.gethostname(), server.server_port)
        self.warning = "" if is_loopback(host) else _CONSEQUENCE
        self._storage = storage
        self._server = server

    def serve_forever(self, open_browser: bool = False) -> None:
        """Answer requests until `shutdown` is called, or KeyboardInterrupt is raised; then close everything."""
        if open_browser:
            # in a thread of its own: a browser in the terminal returns only when it is left
            threading.Thread(target=webbrowser.open, args=(self.address,), daemon=True).start()
        try:
            self._server.serve_forever(poll_interval=_LOOK_SECONDS)
        finally:
            self._server.server_close()
            close(self._storage)

    def shutdown(self) -> None:
        """End `serve_forever`, which runs in another thread."""
        self._server.shutdown()


def open_dashboard(
    url: URL,
    port: int = DEFAULT_PORT,
    host: str = HOST,
    allow_remote: bool = False,
    allowed_hosts: Sequence[str] = (),
) -> Dashboard:
    """Open the storage and start listening; port 0 takes any free one. Nothing is printed.

    Args:
        url: of the storage.
        port: where to listen.
        host: an address of this machine, or a name of it.
        allow_remote: others may reach the page.
        allowed_hosts: names by which browsers may ask for it, beside those that the machine gives itself.

    Raises:
        UserError: if others could reach the page and nobody allowed it, there is no such storage, or the port cannot
            be had; names the nearest free one.
        CheckError: if the database does not answer.
    """
    if not 0 <= port <= HIGHEST_PORT:
        raise UserError(Problem(f"must be a whole number from 0 to {HIGHEST_PORT}", "port", port))
    if not allow_remote and not is_loopback(host):
        rule = f"can be reached by others, and {_CONSEQUENCE}; if that is meant, add --allow-remote"
        raise UserError(Problem(rule, "--host", host))
    require_address(host)
    names = allowed_names(allowed_hosts)
    storage = open_existing(url)
    if storage is None:
        rule = f"no studies to show: {without_studies(url)}; `cifar-tune run` makes the first one"
        raise UserError(Problem(rule, shown(url)))
    app = _while_it_is_there(pages(storage, url), storage, url)
    try:
        guarded = _only_asked_by_name(same_site_only(app, names), host, names)
        kind = _Server6 if ":" in host else _Server
        return Dashboard(storage, make_server(host, port, guarded, kind, _QuietHandler), host)
    except OSError as error:
        close(storage)
        raise refused(host, port, error) from error


def pages(storage: BatchStorage, url: URL, kept: KeptImportances | None = None) -> WSGIApplication:
    """optuna-dashboard with our notes and files, and our reports beside it; `kept` are importances that others show."""
    files = MadeFiles(storage, FileSystemArtifactStore(_made_folder(artifacts_folder())))
    studies = _Studies(storage, url, files, kept or KeptImportances(storage, Lock()))
    return ReportPages(storage, StudyList(storage, studies))


class _Studies:
    """optuna-dashboard, started afresh when an id belongs to another study than before: its caches know ids alone."""

    def __init__(self, storage: BatchStorage, url: URL, files: MadeFiles, kept: KeptImportances) -> None:
        self._storage = storage
        self._cached = CachedStorage(storage)
        self._url = url
        self._files = files
        self._kept = kept
        self._app = self._made()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        with suppress(SQLAlchemyError, DatabaseGoneError):  # the dashboard finds out itself that nothing answers
            if self._cached.renew_if_changed():
                self._app = self._made()
        return self._app(environ, start_response)

    def _made(self) -> WSGIApplication:
        shown = ShownStorage(self._cached.storage, self._url)
        theirs = wsgi(shown, artifact_store=self._files)
        return ShownImportances(self._storage, StudyDetail(self._storage, shown, theirs), self._kept)


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at a time: a page asks for its parts all at once, and some take seconds."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that went away in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Server6(_Server):
    """The same for addresses of IPv6."""

    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    """Writes no line per request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Write nothing."""


def _while_it_is_there(app: WSGIApplication, storage: RDBStorage, url: URL) -> WSGIApplication:
    """Say in a sentence that an SQLite file was removed, replaced or moved since it was opened."""
    if sqlite_file(url) is None:
        return app

    def looked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            with storage.engine.connect():
                pass
        except DatabaseGoneError as error:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{error}. Start the dashboard again.\n".encode()]
        return app(environ, start_response)

    return looked


def _only_asked_by_name(app: WSGIApplication, host: str, allowed: Set[str]) -> WSGIApplication:
    """Refuse requests for any other host than this machine.

    A page elsewhere can let its own name point to this machine; the browser then takes the dashboard for a part of that
    page. The name in the request gives it away. Where others may ask, the machine's own names are right, and so is
    every plain address: nobody can let that point elsewhere. So are the `allowed` names: the machine does not know what
    a name server or a proxy calls it.
    """
    is_remote = not is_loopback(host)
    names = own_names(host, allowed)

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = host_part(environ.get("HTTP_HOST", "")).lower()
        if asked in names or (is_remote and as_address(asked) is not None):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        known = enumerate_names([*sorted(names), *(["plain addresses"] if is_remote else [])], "and")
        advice = f" If {asked} is meant to be this machine, start it with --allow-host {asked}." if asked else ""
        return [f"The dashboard answers to {known} only.{advice}\n".encode()]

    return guarded


def _link(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/dashboard"


def _made_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(Problem(f"the folder cannot be made: {error.strerror}", source=str(folder))) from error
    return folder
