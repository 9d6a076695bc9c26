"""The report of each study beside the dashboard, always as the database stands now."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.dashboard.study_note import REPORT_PATH, report_path
from cifar_tune.errors import CifarTuneError, UserError
from cifar_tune.reports.best_config import BEST_FILE, best_yaml
from cifar_tune.reports.epochs_csv import epochs_csv
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.report import Report
from cifar_tune.reports.trials_csv import trials_csv
from cifar_tune.storage.records import load_record


class ReportPages:
    """`/report/STUDY/` and the files beside it; everything else is the dashboard's."""

    def __init__(self, storage: BaseStorage, app: WSGIApplication) -> None:
        self._storage = storage
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        # WSGI has decoded %2F and the like once, and hands over the bytes that came of it
        path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode(errors="replace")
        if not path.startswith(f"{REPORT_PATH}/"):
            return self._app(environ, start_response)
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return _answer(start_response, HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", "Only reading is possible.\n")
        name, slash, file = path.removeprefix(f"{REPORT_PATH}/").rpartition("/")  # a name may have slashes
        if not slash:
            start_response("308 Permanent Redirect", [("Location", report_path(file))])
            return [b""]
        if file not in _FILES:
            return _answer(start_response, HTTPStatus.NOT_FOUND, "text/plain", "There is no such file.\n")
        mimetype, make = _FILES[file]
        try:
            text = make(Report(load_record(self._storage, name)))
        except CifarTuneError as error:
            status = HTTPStatus.NOT_FOUND if isinstance(error, UserError) else HTTPStatus.INTERNAL_SERVER_ERROR
            return _answer(start_response, status, "text/plain", f"{error}\n")
        except KeyError:
            return _answer(start_response, HTTPStatus.NOT_FOUND, "text/plain", "The study was deleted a moment ago.\n")
        except (SQLAlchemyError, StorageInternalError):  # its words may name a password
            words = "The database does not answer; try again later.\n"
            return _answer(start_response, HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", words)
        return _answer(start_response, HTTPStatus.OK, mimetype, text)


def _folder(report: Report) -> Path:
    """Where `cifar-tune export` puts it: what the commands in the page name."""
    return Path("reports") / report.record.name


def _best(report: Report) -> str:
    if report.chosen is None:
        return ""
    return best_yaml(report.record, report.chosen, _folder(report) / BEST_FILE, report.raced)


_FILES: dict[str, tuple[str, Callable[[Report], str]]] = {
    "": ("text/html", lambda report: report_html(report, _folder(report))),
    "best.yaml": ("text/plain", _best),
    "trials.csv": ("text/csv", trials_csv),
    "epochs.csv": ("text/csv", epochs_csv),
}


def _answer(start_response: StartResponse, status: HTTPStatus, mimetype: str, text: str) -> Iterable[bytes]:
    body = text.encode()
    headers = [
        ("Content-Type", f"{mimetype}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
