"""`cifar-tune serve`: the loop that runs studies, and the HTTP server beside it, in one process."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NoReturn

from sqlalchemy.engine import URL

from cifar_tune.cli.find_study import when_reached
from cifar_tune.errors import Problem, UnexpectedError, UserError
from cifar_tune.memory import share_heaps
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.addresses import SECRET_VARIABLE
from cifar_tune.service.checking_apart import memory_limit
from cifar_tune.service.one_server import server_lease, tell_address
from cifar_tune.service.people import first_admin
from cifar_tune.service.schema import upgrade, version_of
from cifar_tune.service.supervising import Settings, Supervisor
from cifar_tune.service.tables import VERSION
from cifar_tune.service.telling import telling
from cifar_tune.storage.lease import Lease
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import require_artifacts_folder, shown
from cifar_tune.streams import final_exit_code, say
from cifar_tune.study.plain_lines import stamp
from cifar_tune.study.stop_signals import stop_signals
from cifar_tune.visible import visible_lines
from cifar_tune.web.settings import WebSettings, check_settings

_PACKAGES = ("fastapi", "uvicorn", "a2wsgi", "python_multipart", "prometheus_client")
INSTALL = "pip install 'cifar-tune[service]'"


def require_packages() -> None:
    """See that what pages and the HTTP interface need is installed.

    Raises:
        UserError: it is not.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        rule = f"needs {', '.join(missing)}: {INSTALL}; or run studies without pages: cifar-tune serve --no-http"
        raise UserError(Problem(rule, "serve"))


def serve(url: URL, settings: Settings, web: WebSettings | None) -> None:
    """Run what is submitted until SIGTERM or Ctrl-C comes; then park everything.

    Args:
        url: of the storage; it is made if it is missing.
        settings: of the loop.
        web: of the HTTP server; None for none.

    Raises:
        UserError: the settings make no sense, or address and port cannot be used.
        CheckError: another server runs on this storage, or it cannot be used.
    """
    share_heaps()
    memory_limit()
    if web is not None:
        check_settings(web)
    require_artifacts_folder()
    secret = os.environ.pop(SECRET_VARIABLE, "")  # the plugins of a study have no business with it
    say(f"opening the database {shown(url)}", err=True)
    storage = when_reached(lambda: open_storage(url, is_durable=True), url)
    try:
        version = version_of(storage.engine)
        if version != VERSION:
            words = "making the service's tables" if version is None else f"upgrading the service's tables to {VERSION}"
            say(words, err=True)
        upgrade(storage.engine)
        lease = server_lease(storage.engine)
        try:
            if web is None:
                tell_address(storage.engine, lease, "")
            else:
                say("loading the pages", err=True)
            supervisor = Supervisor(storage.engine, url, lease, settings, _log)
            with (
                stop_signals() as stop,
                telling(storage, secret, _log),
                _listening(storage, url, web, supervisor, lease) as is_well,
            ):
                stop.is_polled = True
                _print_start(storage, settings)
                supervisor.run(lambda: stop.park or not is_well(), lambda: stop.at_once)
                if not stop.park:
                    raise UnexpectedError("the HTTP server has ended by itself; all studies were parked")
        finally:
            lease.release_or_leave()
    finally:
        close(storage)


def leave() -> NoReturn:
    """End the process, once `serve` has closed everything, with exit code 0.

    Threads that still make an answer, such as the report of a large study, are not waited for: whoever asked for it has
    been cut off.
    """
    code = final_exit_code(0)
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _listening(
    storage: BatchStorage, url: URL, web: WebSettings | None, supervisor: Supervisor, lease: Lease
) -> Iterator[Callable[[], bool]]:
    """Answer requests inside the block; yields what says whether that goes on."""
    if web is None:
        say("without pages and HTTP interface; people use the commands with --storage")
        yield lambda: True
        return
    from cifar_tune.web.app import create_app
    from cifar_tune.web.models.queueing import Slot, Slots
    from cifar_tune.web.preparing import Preparing
    from cifar_tune.web.serving import HttpServer

    def slots() -> Slots:
        held = enumerate(supervisor.slots)
        return Slots(
            slots=[Slot(number=number, device=device, study=study) for number, (device, study) in held],
            as_of=supervisor.looked_at,
        )

    app = create_app(storage, url, web, slots, {"loop": supervisor.standing})
    http = HttpServer(app, web)
    gc.collect()
    gc.freeze()  # else each full collection looks through all that was imported, for a tenth of a second
    http.start()
    preparing = Preparing(app.state.here)
    preparing.start()
    try:
        tell_address(storage.engine, lease, http.elsewhere or http.address)
        say(http.address)
        if http.elsewhere:
            say(f"from other machines: {http.elsewhere}")
        yield lambda: http.is_running
    finally:
        http.stop()
        preparing.stop()
        app.state.here.close()


def _print_start(storage: BatchStorage, settings: Settings) -> None:
    token = first_admin(storage.engine)
    if token is not None:
        say(f"token of the first administrator, shown only now: {token}")
    counts = ", ".join(f"{settings.slots.count(name)} on {name}" for name in dict.fromkeys(settings.slots))
    say(
        f"slots: {counts or 'none yet'}; process {os.getpid()}; Ctrl-C or SIGTERM parks everything and ends it",
        err=True,
    )


def _log(text: str) -> None:
    for line in visible_lines(text).splitlines():
        say(f"{stamp()} {line}", err=True)
