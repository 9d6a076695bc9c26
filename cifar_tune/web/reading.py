"""What the service tells of studies, read from their tables with the code that `status` and `export` use.

All of it blocks, so that routes call it in threads. Many people look at the same pages, so answers are kept for as long
as nothing has changed, or for a second.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.engine import URL

from cifar_tune.errors import CheckError, DamagedError, UserError, last_line, nearest_name
from cifar_tune.optuna_internals import BatchStorage
from cifar_tune.optuna_tables import (
    ids_of_studies,
    naming_damage,
    numbers_of_trials,
    parts_of_unfinished,
    states_of_studies,
    trial_ids,
)
from cifar_tune.reports.best_config import BEST_FILE, best_yaml, resolved_config
from cifar_tune.reports.export import file_content, file_names
from cifar_tune.reports.importances import Importances, importances
from cifar_tune.reports.report import Report
from cifar_tune.reports.weights import final_model
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import held_lease
from cifar_tune.storage.linked import FINALS, linked_name, parent_of
from cifar_tune.storage.overview import Overview, overview
from cifar_tune.storage.records import StudyRecord, TrialRecord, load_record, trial_record
from cifar_tune.storage.stored_studies import ForeignStudyError, load_optuna_study, read_spec
from cifar_tune.storage.versions import is_copy
from cifar_tune.study.budget import most_trials
from cifar_tune.study.status import described
from cifar_tune.web.cache import Cache

_SECONDS = 1.0
"""So old may be what is told of a study that runs."""

_MOST_COMPARED = 1000
"""Names that a wrong one is compared with, letter by letter."""

_MOST_SUMMARIES = 5000
_MOST_STATUSES = 200
_MOST_REPORTS = 3
_MOST_FILES = 20


_MOST_ENDED = 10
_MOST_BEGUN = 64
_LONG = frozenset({"test_openings", "test_openings_elsewhere", "failed", "front"})
"""Keys of the status that are long and rarely change: whoever wants them asks for the study itself."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A study of the database: its id, and how many trials are in each state."""

    id: int
    counts: Mapping[str, int]


class Studies:
    """The studies of a storage.

    Args:
        storage: that holds them.
        url: of the storage.
    """

    def __init__(self, storage: BatchStorage, url: URL) -> None:
        self.storage = storage
        self.url = url
        self._names: Cache[dict[str, Stored]] = Cache(1, _SECONDS)
        self._summaries: Cache[dict[str, Any]] = Cache(_MOST_SUMMARIES)
        self._statuses: Cache[dict[str, Any]] = Cache(_MOST_STATUSES, _SECONDS)
        self._bests: Cache[dict[str, Any] | str] = Cache(_MOST_STATUSES)
        self._fronts: Cache[list[dict[str, Any]]] = Cache(_MOST_STATUSES)
        self._live: Cache[tuple[str, str]] = Cache(_MOST_STATUSES, _SECONDS)
        self._reports: Cache[Report] = Cache(_MOST_REPORTS)
        self._files: Cache[bytes] = Cache(_MOST_FILES)
        self._importances: Cache[Importances | str] = Cache(_MOST_STATUSES)
        self._making = (
            Lock()
        )  # one report at a time: each takes a core, and the look of pictures is set for all threads

    def all(self) -> Mapping[str, Stored]:
        """All studies by name, the newest first."""

        def read() -> dict[str, Stored]:
            counts = states_of_studies(self.storage.engine)
            return {
                name: Stored(study, {state.name: count for state, count in counts.get(study, {}).items()})
                for name, study in ids_of_studies(self.storage.engine).items()
                if not is_copy(name)
            }

        return self._names.get("all", None, read)

    def require(self, name: str) -> int:
        """The id of a study.

        Raises:
            UnknownStudyError: there is none of this name.
        """
        try:
            return self.storage.get_study_id_from_name(name)
        except KeyError:
            near = nearest_name(name, list(self.all())[:_MOST_COMPARED])
            raise UnknownStudyError(
                f"there is no study {name!r}{f' (did you mean {near!r}?)' if near else ''}"
            ) from None

    def summary(self, name: str, stored: Stored) -> dict[str, Any]:
        """What a list says of a study: budget, trials by state and the best value so far."""
        mark = (stored.id, tuple(sorted(stored.counts.items())))
        return self._summaries.get(name, mark, lambda: self._summarized(name, stored))

    def _summarized(self, name: str, stored: Stored) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": name,
            "counts": dict(stored.counts),
            "finished": sum(stored.counts.get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL")),
            "budget_trials": None,
            "objective": None,
            "direction": None,
            "best": None,
            "trouble": None,
        }
        try:
            seen = overview(self.storage, name)
        except ForeignStudyError:
            return told | {"trouble": "it was not made by cifar-tune"}
        except (UserError, DamagedError) as error:
            return told | {"trouble": str(error)}
        best = None if seen.best is None or parent_of(name) is not None else seen.best
        return told | {
            "budget_trials": most_trials(seen.spec, seen.strangers),
            "objective": seen.spec.objective.metric,
            "direction": seen.spec.objective.direction,
            "best": None if best is None else {"number": best.number, "value": best.value},
        }

    def status(self, name: str) -> dict[str, Any]:
        """One study as `cifar-tune status --json` tells it.

        Raises:
            UnknownStudyError: there is none of this name.
            UserError: another tool made it.
            DamagedError: what the database holds of it makes no sense.
        """
        study = self.require(name)
        return self._statuses.get((study, name), self._moment(study, name), lambda: self._status(name))

    def _status(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = _finite(described(self.storage, overview(self.storage, name)))
        return told

    def live(self, name: str) -> tuple[str, str]:
        """A study as somebody who watches it needs it: JSON, and a mark that is another one if that is.

        Beside the status, it has the trials that run or are parked and those that ended last.

        Raises:
            UnknownStudyError: there is none of this name.
            UserError: another tool made it.
            DamagedError: what the database holds of it makes no sense.
        """
        study = self.require(name)
        return self._live.get((study, name), self._moment(study, name), lambda: self._seen(name))

    def _seen(self, name: str) -> tuple[str, str]:
        seen = overview(self.storage, name, _MOST_ENDED)
        begun = [trial for trial in seen.unfinished if trial.config and not trial.is_drawn]
        status = described(self.storage, seen)
        if status["lease"] is not None:
            status["lease"]["seconds_left"] = None  # else there would be something new each second
        told = {
            "status": {key: each for key, each in status.items() if key not in _LONG},
            "running": [self._told(trial) for trial in begun[:_MOST_BEGUN]],
            "ended": [self._told(trial) for trial in seen.last],
        }
        text = json.dumps(_finite(told))
        return sha256(text.encode()).hexdigest()[:16], text

    def trials(
        self, name: str, first: int, most: int, states: Collection[TrialState] | None = None
    ) -> Sequence[dict[str, Any]]:
        """Trials by their numbers, from `first` on, with the values after each of their epochs.

        Raises:
            UnknownStudyError: there is no study of this name.
            UserError: another tool made it.
        """
        study = self.require(name)
        ids = trial_ids(self.storage.engine, study, first, most, states)
        return [_finite(self._told(trial)) for trial in self._records(name, study, ids)]

    def trial(self, name: str, number: int) -> dict[str, Any]:
        """One trial with its configuration, and all figures of all its epochs.

        Raises:
            UnknownStudyError: there is no such study, or no such trial in it.
        """
        record = self.trial_record(name, number)
        spec = read_spec(load_optuna_study(self.storage, name))
        return self._told(record) | {
            "config": resolved_config(record, spec) if record.config else {},
            "history": {key: list(each) for key, each in record.history.items()},
            "measures": {key: list(each) for key, each in record.measures.items()},
            "metrics": dict(record.metrics),
            "parameters": record.parameters,
            "flops": record.flops,
            "precision": record.precision,
            "resumed_from": list(record.resumed_from),
        }

    def trial_record(self, name: str, number: int) -> TrialRecord:
        """The same as the database has it.

        Raises:
            UnknownStudyError: there is no such study, or no such trial in it.
        """
        study = self.require(name)
        found = self._records(name, study, trial_ids(self.storage.engine, study, number, 1))
        if not found or found[0].number != number:
            raise UnknownStudyError(f"the study {name!r} has no trial {number}")
        return found[0]

    def _records(self, name: str, study: int, ids: Sequence[int]) -> list[TrialRecord]:
        spec = read_spec(load_optuna_study(self.storage, name))
        with naming_damage(name):
            stored = self.storage.read_trials(study, ids=ids) if ids else []
            return sorted((trial_record(trial, spec) for trial in stored), key=lambda trial: trial.number)

    @staticmethod
    def _told(trial: TrialRecord) -> dict[str, Any]:
        return {
            "number": trial.number,
            "state": trial.state,
            "reason": trial.reason,
            "error": last_line(trial.error) or None,
            "value": trial.value,
            "values": list(trial.values),
            "feasible": trial.feasible,
            "source": trial.source,
            "params": dict(trial.searched),
            "intermediate": [[step, value] for step, value in sorted(trial.intermediate.items())],
            "epochs": trial.epochs,
            "budget_epochs": trial.config.get("epochs"),
            "seconds": trial.seconds,
            "device": trial.device,
            "started": None if trial.started is None else trial.started.astimezone().isoformat(),
            "ended": None if trial.ended is None else trial.ended.astimezone().isoformat(),
        }

    def best(self, name: str) -> dict[str, Any]:
        """What the study has come to: every knob as it stands in a file, and that file's text.

        That is the winner of its race, where one is over, else the best trial.

        Raises:
            UnknownStudyError: there is no study of this name, or no best trial in it yet; the message says why.
        """
        mark = self._mark(name, ("COMPLETE",)) if self._finals(name) is None else self._mark(name)
        found = self._bests.get(name, mark, lambda: self._best(name))
        if isinstance(found, str):
            raise UnknownStudyError(found)
        return found

    def _best(self, name: str) -> dict[str, Any] | str:
        seen, path = overview(self.storage, name), Path("reports") / name / BEST_FILE
        if seen.best is None:
            return f"{seen.without_best_words}{'' if parent_of(name) is not None else ' yet'}"
        chosen, text = seen.best, None
        if self._finals(name) is not None:
            report = self._report(name, self._mark(name))
            if report.winner is not None:
                chosen, text = report.winner, best_yaml(report.record, report.winner, path, report.raced)
        names = [objective.metric for objective in seen.spec.objectives]
        return {
            "number": chosen.number,
            "value": chosen.value,
            "values": dict(zip(names, chosen.values, strict=True)),
            "params": dict(chosen.searched),
            "config": resolved_config(chosen, seen.spec),
            "yaml": best_yaml(self._light(seen), chosen, path) if text is None else text,
        }

    def _finals(self, name: str) -> int | None:
        """The id of the race of a study; None where there is none."""
        try:
            return self.storage.get_study_id_from_name(linked_name(name, FINALS))
        except KeyError:
            return None

    def _light(self, seen: Overview) -> StudyRecord:
        """What a configuration file tells of its study, without reading the other trials."""
        study = load_optuna_study(self.storage, seen.name)
        return StudyRecord(
            name=seen.name,
            spec=seen.spec,
            environment=study.user_attrs.get(attributes.ENVIRONMENT, {}),
            data=seen.data,
            elapsed_seconds=seen.elapsed_seconds,
            openings=seen.openings,
            trials=(),
            completed=(),
            study=study,
        )

    def front(self, name: str) -> list[dict[str, Any]]:
        """The Pareto front, best first objective first; of one objective the best trial alone.

        Raises:
            UnknownStudyError: there is no study of this name.
        """
        return self._fronts.get(name, self._mark(name, ("COMPLETE",)), lambda: self._front(name))

    def _front(self, name: str) -> list[dict[str, Any]]:
        seen = overview(self.storage, name)
        names = [objective.metric for objective in seen.spec.objectives]
        return [
            {
                "number": trial.number,
                "values": dict(zip(names, trial.values, strict=True)),
                "params": dict(trial.searched),
                "parameters": trial.parameters,
                "flops": trial.flops,
            }
            for trial in seen.front
        ]

    def importances(self, name: str) -> dict[str, Any]:
        """The importances so far, or the sentence that says why there are none.

        Raises:
            UnknownStudyError: there is no study of this name.
        """
        mark = self._mark(name, ("COMPLETE",))

        def make() -> Importances | str:
            with self._making:
                return importances(load_record(self.storage, name))

        found = self._importances.get(name, mark, make)
        if isinstance(found, str):
            return {"shares": {}, "basis": None, "why_none": found}
        return {"shares": dict(found.shares), "basis": found.basis, "why_none": None}

    def report(self, name: str) -> Sequence[str]:
        """The files that `cifar-tune export` would write, by their path in its folder.

        Raises:
            UnknownStudyError: there is no study of this name.
        """
        return file_names(self._report(name, self._mark(name)))

    def report_file(self, name: str, file: str) -> bytes:
        """One of these files.

        Raises:
            UnknownStudyError: there is no study of this name, or no such file.
        """
        mark = self._mark(name)

        def make() -> bytes:
            report = self._report(name, mark)
            with self._making:
                return file_content(report, file, Path("reports") / name)

        try:
            return self._files.get((name, file), mark, make)
        except KeyError:
            raise UnknownStudyError(f"there is no file {file!r} in the report of the study {name!r}") from None

    def _report(self, name: str, mark: object) -> Report:
        def make() -> Report:
            with self._making:
                return Report(load_record(self.storage, name))

        return self._reports.get(name, mark, make)

    def model(self, name: str) -> Mapping[str, bytes]:
        """The files of the model that `finalize` has kept, by their path in its folder.

        Raises:
            UnknownStudyError: there is no study of this name, or no model; the message says why.
        """
        self.require(name)
        try:
            return final_model(load_record(self.storage, name))[2]
        except CheckError as error:
            raise UnknownStudyError(str(error)) from error

    def _moment(self, study: int, name: str) -> object:
        """Something that is the same as long as nothing changes that a status tells."""
        counts = states_of_studies(self.storage.engine, [study]).get(study, {})
        held = held_lease(self.storage.engine, name)
        return (
            sorted((state.name, count) for state, count in counts.items()),
            parts_of_unfinished(self.storage.engine, study),
            None if held is None else (str(held.owner), held.is_free),
            len(self.storage.get_study_user_attrs(study)),
        )

    def _mark(self, name: str, states: Collection[str] | None = None) -> object:
        """Something that is the same as long as a study has the same trials in these states, race and attributes."""
        study, finals = self.require(name), self._finals(name)
        by_study = states_of_studies(self.storage.engine, [study, *([] if finals is None else [finals])])
        counts = by_study.get(study, {})
        told = sorted((state.name, count) for state, count in counts.items() if states is None or state.name in states)
        if states is not None:
            return study, tuple(told)
        openings = sum(key.startswith(attributes.TEST_OPENING) for key in self.storage.get_study_user_attrs(study))
        race = (
            None if finals is None else tuple(sorted((s.name, count) for s, count in by_study.get(finals, {}).items()))
        )
        return study, tuple(told), numbers_of_trials(self.storage.engine, study), openings, finals, race


def _finite(value: Any) -> Any:
    """The same without NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
