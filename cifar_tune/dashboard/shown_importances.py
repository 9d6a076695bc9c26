"""The answer of optuna-dashboard that holds the importances of a study: those of our report.

Its own figures differ from ours for the same trials: it sets the best tenth against all trials even if that is one
trial, takes trials that break a constraint for good ones, and counts repetitions. Two answers to one question would
leave the reader to choose the one that pleases.
"""

import json
import re
from collections.abc import Iterable, Mapping
from threading import Lock
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CifarTuneError
from cifar_tune.optuna_questions import states_of_trials
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.importances import importances_of_each
from cifar_tune.storage import attributes
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.records import StudyRecord, load_record

_PATH = re.compile(r"/api/studies/(\d+)/param_importances/*")
_NEW = 100
"""They are computed anew when one in this many completed trials is new: in a long study they hardly change."""


class ShownImportances:
    """Answers requests for the importances of our studies; everything else is passed on.

    Args:
        database: from which studies are read.
        app: optuna-dashboard.
    """

    def __init__(self, database: BatchStorage, app: WSGIApplication) -> None:
        self._database = database
        self._app = app
        self._lock = Lock()
        self._known: dict[int, tuple[int, bytes]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        match = _PATH.fullmatch(environ.get("PATH_INFO", ""))
        body = self._body(int(match[1])) if match and environ.get("REQUEST_METHOD") == "GET" else None
        if body is None:
            return self._app(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _body(self, study: int) -> bytes | None:
        """The answer; None if optuna-dashboard has to give it."""
        try:
            with self._lock:  # two at a time would each take twice as long
                if attributes.SPEC not in self._database.get_study_user_attrs(study):
                    return None
                completed = states_of_trials(self._database.engine, study).get(TrialState.COMPLETE, 0)
                then, text = self._known.get(study, (-1, b""))
                if not 0 <= completed - then <= then // _NEW:
                    text = self._computed(study)
                    self._known[study] = (completed, text)
                return text
        except (CifarTuneError, KeyError, SQLAlchemyError, StorageInternalError):  # it says itself what is wrong
            return None

    def _computed(self, study: int) -> bytes:
        record = load_record(self._database, self._database.get_study_name_from_id(study))
        kinds = {name: type(kind).__name__ for trial in record.completed for name, kind in trial.distributions.items()}
        lists = [
            [
                {"name": name, "importance": share, "distribution": kinds[name]}
                for name, share in shares.items()
                if name in kinds
            ]
            for shares in _shares(record)
        ]
        return json.dumps({"param_importances": lists}).encode()


def _shares(record: StudyRecord) -> list[Mapping[str, float]]:
    """For each objective those for it alone, since the page draws bars for each of them."""
    if parent_of(record.name) is not None:
        return [{} for _ in record.spec.objectives]
    return importances_of_each(record)
