"""The answer of optuna-dashboard that holds the importances of a study: those of our report.

Its own figures differ from ours for the same trials: it sets the best tenth against all trials even if that is one
trial, takes trials that break a constraint for good ones, and counts repetitions. Two answers to one question would
leave the reader to choose the one that pleases.
"""

import json
import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CifarTuneError
from cifar_tune.optuna_questions import distributions_of_study, states_of_trials
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.kept_importances import KeptImportances
from cifar_tune.storage import attributes
from cifar_tune.storage.stored_studies import identity_of

_PATH = re.compile(r"/api/studies/(\d+)/param_importances/*")


class ShownImportances:
    """Answers requests for the importances of our studies; everything else is passed on.

    Args:
        database: from which studies are read.
        app: optuna-dashboard.
        kept: the importances of its studies.
    """

    def __init__(self, database: BatchStorage, app: WSGIApplication, kept: KeptImportances) -> None:
        self._database = database
        self._app = app
        self._kept = kept

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
            attrs = self._database.get_study_user_attrs(study)
            if attributes.SPEC not in attrs:
                return None
            engine = self._database.engine
            completed = states_of_trials(engine, study).get(TrialState.COMPLETE, 0)
            name = self._database.get_study_name_from_id(study)
            identity = identity_of(engine, study, attrs)
            found = self._kept.get(study, name, identity, completed, waits=True)  # the page asks once
            kinds = {knob: type(kind).__name__ for knob, kind in distributions_of_study(engine, study)}
        except (CifarTuneError, KeyError, SQLAlchemyError, StorageInternalError):  # it says itself what is wrong
            return None
        lists = [
            [
                {"name": knob, "importance": share, "distribution": kinds[knob]}
                for knob, share in shares.items()
                if knob in kinds
            ]
            for shares in ([] if found is None else found.each)
        ]
        return json.dumps({"param_importances": lists}).encode()
