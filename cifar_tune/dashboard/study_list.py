"""The list of all studies, which optuna-dashboard's first page asks for again and again.

Optuna reads and decodes all attributes of all studies each time, and optuna-dashboard writes them as text again: half a
second for a thousand studies. Here the text of each study is kept with the rows that it was made from. optuna-dashboard
is asked about the studies whose rows have changed since, and writes their texts itself.
"""

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna_dashboard import wsgi
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.dashboard.shown_storage import without_analyses
from cifar_tune.optuna_internals import FrozenStudy, frozen_study
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_studies import StoredStudies, StudyRows, print_of_studies, stored_studies
from cifar_tune.storage.opened_file import DatabaseGoneError
from cifar_tune.storage.views import PassingStorage

_PATH = "/api/studies"
_KEY = "study_summaries"
_BODY = ("QUERY_STRING", "CONTENT_LENGTH")


class StudyList:
    """Answers requests for the list; all others are passed on.

    Args:
        storage: with the studies.
        app: optuna-dashboard, which is asked itself where a study is damaged, or it answers otherwise than expected.
    """

    def __init__(self, storage: BatchStorage, app: WSGIApplication) -> None:
        self._engine = storage.engine
        self._app = app
        self._changed = _Changed(storage)
        self._writer: WSGIApplication = wsgi(self._changed)
        self._lock = Lock()
        self._print: Hashable = None
        self._stored = StoredStudies()
        self._texts: dict[int, bytes] = {}
        self._made = _answer(())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        is_asked = environ.get("REQUEST_METHOD") == "GET" and environ.get("PATH_INFO") == _PATH
        body = self._body(environ) if is_asked else None
        if body is None:
            return self._app(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _body(self, environ: WSGIEnvironment) -> bytes | None:
        """The answer; None if optuna-dashboard has to give it."""
        try:
            with self._lock:
                seen = print_of_studies(self._engine)
                if seen is None or seen != self._print:
                    stored = stored_studies(self._engine)
                    new = stored.rows(stored.changed_since(self._stored))
                    texts = self._written(environ, new) if new else {}
                    if texts is None:
                        return None
                    self._texts = {study: texts.get(study) or self._texts[study] for study, _ in stored.names}
                    self._made = _answer(self._texts.values())
                    self._stored, self._print = stored, seen
                return self._made
        except (LookupError, TypeError, ValueError, SQLAlchemyError, DatabaseGoneError):  # it says itself what is wrong
            return None

    def _written(self, environ: WSGIEnvironment, rows: Mapping[int, StudyRows]) -> dict[int, bytes] | None:
        """The text of each of these studies; None if optuna-dashboard does not answer as it does now."""
        self._changed.studies = [_shown(study, each) for study, each in rows.items()]
        found: list[str] = []

        def start(status: str, _headers: list[tuple[str, str]], _exc_info: Any = None, /) -> Any:
            found.append(status)

        plain = {key: value for key, value in environ.items() if key not in _BODY}
        answer = json.loads(b"".join(self._writer(plain, start)))
        if not found[0].startswith("200") or list(answer) != [_KEY]:
            return None
        texts = {each["study_id"]: json.dumps(each).encode() for each in answer[_KEY]}
        return texts if texts.keys() == rows.keys() else None


def _answer(texts: Iterable[bytes]) -> bytes:
    """The answer with these texts of studies."""
    return f'{{"{_KEY}": ['.encode() + b", ".join(texts) + b"]}"


class _Changed(PassingStorage):
    """A storage that has certain studies alone."""

    studies: Sequence[FrozenStudy] = ()

    def get_all_studies(self) -> list[FrozenStudy]:
        """These."""
        return list(self.studies)


def _shown(study: int, rows: StudyRows) -> FrozenStudy:
    found = frozen_study(study, rows)
    found.user_attrs = without_analyses(found.user_attrs)
    return found
