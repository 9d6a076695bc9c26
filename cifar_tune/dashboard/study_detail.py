"""The answer of optuna-dashboard that holds all trials of a study, in a fraction of the time.

Its page asks for `/api/studies/ID?after=N`: the summary of a study, and its trials from position N on. For the summary,
optuna-dashboard looks at every trial of the study each time; for 20,000 trials it needs seconds before the first one is
written, even if N leaves out all of them.

Here optuna-dashboard is asked about a few trials that stand for all: one of each kind, the best ones, and those that
have not ended. This gives the same summary. The text of the other trials is made from the rows of the database.

The few trials are written by both. If one text differs, as after a new release of optuna-dashboard, its own answers are
passed on from then on.
"""

import json
import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import wsgi
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.dashboard.shown_storage import ShownStorage, with_files
from cifar_tune.dashboard.trial_texts import Kind, Row, TrialText, TrialTexts
from cifar_tune.memory import uncollected
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import trial_rows
from cifar_tune.storage import attributes
from cifar_tune.storage.views import PassingStorage
from cifar_tune.study_spec.pareto import Minimized, pareto_front

FEWEST = 200
"""Trials of a study from which on this is worth while; optuna-dashboard takes a third of a second for this many."""

_AT_ONCE = 400
_PATH = re.compile(r"/api/studies/(\d+)/*")
_OF_TRIAL = re.compile(r"dashboard:(?:artifacts:)?(\d+):")
"""Names of the study's system attributes in which optuna-dashboard keeps notes and files of a trial."""

_SAME_CONTENT = {"QUERY_STRING": "after=0", "CONTENT_LENGTH": "0"}


class StudyDetail:
    """Answers requests for `/api/studies/ID`; all others are passed on.

    Args:
        database: from which rows are read.
        shown: the same database as optuna-dashboard sees it.
        app: optuna-dashboard on `shown`.
        fewest: the trials of a study below which it is asked itself.
    """

    def __init__(self, database: BatchStorage, shown: ShownStorage, app: WSGIApplication, fewest: int = FEWEST) -> None:
        self._database = database
        self._shown = shown
        self._app = app
        self._fewest = fewest
        self._lock = Lock()
        self._summaries: dict[int, _Summary] = {}
        self._is_right = True

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        asked = _asked(environ)
        body = None if asked is None else self._body(environ, *asked)
        if body is None:
            return self._app(environ, start_response)
        length = str(sum(map(len, body)))
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", length)])
        return body

    def _body(self, environ: WSGIEnvironment, study: int, after: int) -> Sequence[bytes] | None:
        """The answer; None if optuna-dashboard has to give it."""
        try:
            with self._lock, uncollected():  # two at a time would each take twice as long
                return self._written(environ, study, after) if self._is_right else None
        except (KeyError, TypeError, ValueError, SQLAlchemyError, StorageInternalError):  # it says itself what is wrong
            return None

    def _written(self, environ: WSGIEnvironment, study: int, after: int) -> Sequence[bytes] | None:
        is_ours = attributes.SPEC in self._shown.get_study_user_attrs(study)
        summary = self._summaries.setdefault(study, _Summary(self._shown.get_study_directions(study)))
        writer = TrialTexts(study, is_ours)
        with self._database.engine.connect() as connection:
            rows: Sequence[Row] = trial_rows(connection, study)
            if len(rows) < self._fewest:
                return None
            wanted = {row[0] for row in rows[after:]}
            texts: dict[int, bytes] = {}
            left = wanted & _noted(self._shown.get_study_system_attrs(study))
            ended = [row for row in rows if row[2].is_finished() and (row[0] in wanted or row[0] not in summary.seen)]
            for start in range(0, len(ended), _AT_ONCE):
                some = list(writer.read(connection, ended[start : start + _AT_ONCE]))
                summary.add(some)
                texts.update((each.id, each.text) for each in some if each.id in wanted and each.text is not None)
                left |= {each.id for each in some if each.id in wanted and each.text is None}
        left |= {row[0] for row in rows if not row[2].is_finished()}
        answer = self._ask(environ, study, left | summary.stand_ins, is_ours)
        if answer is None or answer.get("is_preferential") is not False:
            return None
        theirs = {trial["trial_id"]: trial for trial in answer["trials"]}
        if any(_plain(texts[id_]) != json.dumps(theirs[id_]) for id_ in theirs.keys() & texts.keys() - left):
            self._is_right = False
            return None
        texts.update((id_, json.dumps(theirs[id_]).encode()) for id_ in theirs.keys() & wanted)
        return _joined(answer, [texts[row[0]] for row in rows[after:]])

    def _ask(
        self, environ: WSGIEnvironment, study: int, ids: Collection[int], is_ours: bool
    ) -> Mapping[str, Any] | None:
        """What optuna-dashboard answers where the study has these trials alone; None if it is an error."""
        trials = self._database.read_trials(study, ids=ids)
        if is_ours:
            trials = [with_files(trial) for trial in trials]
        app: WSGIApplication = wsgi(_Few(self._shown, sorted(trials, key=lambda trial: trial.number)))
        found: list[str] = []

        def start(status: str, _headers: list[tuple[str, str]], _exc_info: Any = None, /) -> Any:
            found.append(status)

        text = b"".join(app({**environ, **_SAME_CONTENT}, start))
        return json.loads(text) if found[0].startswith("200") else None


@dataclass
class _Summary:
    """What was seen of the finished trials of a study.

    Attributes:
        directions: of the objectives.
        seen: ids of the trials.
        newest: of each kind the number and the id of the newest trial. It is the one that optuna-dashboard sees first.
        best: points and numbers of the trials on the Pareto front, by id; of one objective the oldest of the best.
    """

    directions: Sequence[StudyDirection]
    seen: set[int] = field(default_factory=set)
    newest: dict[Kind, tuple[int, int]] = field(default_factory=dict)
    best: dict[int, tuple[Minimized, int]] = field(default_factory=dict)

    @property
    def stand_ins(self) -> set[int]:
        """The ids of trials that stand for all."""
        return {id_ for _, id_ in self.newest.values()} | self.best.keys()

    def add(self, trials: Iterable[TrialText]) -> None:
        for each in trials:
            self.seen.add(each.id)
            self.newest[each.kind] = max(self.newest.get(each.kind, (-1, -1)), (each.number, each.id))
            if each.kind.state == TrialState.COMPLETE:
                point = tuple(
                    -value if direction == StudyDirection.MAXIMIZE else value
                    for value, direction in zip(each.values, self.directions, strict=True)
                )
                self.best[each.id] = (point, each.number)
        found = sorted(self.best.items(), key=lambda item: item[1][1])
        front = [found[index] for index in pareto_front([point for _, (point, _) in found])]
        self.best = dict(front[:1] if len(self.directions) == 1 else front)


class _Few(PassingStorage):
    """A storage whose studies have certain trials alone."""

    def __init__(self, backend: BaseStorage, trials: Sequence[FrozenTrial]) -> None:
        super().__init__(backend)
        self._trials = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """These trials; nobody changes them."""
        return [trial for trial in self._trials if states is None or trial.state in states]


def _asked(environ: WSGIEnvironment) -> tuple[int, int] | None:
    """The study, and the position from which trials are wanted; None if the request is another one."""
    match = _PATH.fullmatch(environ.get("PATH_INFO", ""))
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    after = query.pop("after", ["0"])
    if environ.get("REQUEST_METHOD") != "GET" or match is None or query or len(after) > 1 or not after[0].isdecimal():
        return None
    return int(match[1]), int(after[0])


def _noted(attrs: Iterable[str]) -> set[int]:
    return {int(match[1]) for match in map(_OF_TRIAL.match, attrs) if match}


def _plain(text: bytes) -> str:
    return json.dumps(json.loads(text))


def _joined(answer: Mapping[str, Any], texts: Sequence[bytes]) -> Sequence[bytes]:
    """The answer with these trials, in pieces."""
    parts = [f"{json.dumps(key)}: {'[' if key == 'trials' else json.dumps(value)}" for key, value in answer.items()]
    place = list(answer).index("trials")
    before, behind = "".join(f"{part}, " for part in parts[:place]), "".join(f", {part}" for part in parts[place + 1 :])
    blocks = [b", ".join(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
    between = [part for block in blocks for part in (b", ", block)][1:]
    return [f"{{{before}{parts[place]}".encode(), *between, f"]{behind}}}".encode()]
