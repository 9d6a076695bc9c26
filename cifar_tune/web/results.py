"""What studies have come to: best configurations, Pareto fronts, importances, reports and models.

All of it blocks, so that routes call it in threads. Answers are kept for as long as no trial has ended since.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from cifar_tune.errors import CheckError
from cifar_tune.optuna_tables import numbers_of_trials, states_of_studies
from cifar_tune.reports.best_config import BEST_FILE, best_yaml, resolved_config
from cifar_tune.reports.export import file_content, file_names
from cifar_tune.reports.importances import Importances, importances
from cifar_tune.reports.report import Report
from cifar_tune.reports.weights import final_model
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.storage import attributes
from cifar_tune.storage.linked import FINALS, linked_name, parent_of
from cifar_tune.storage.overview import Overview, overview
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.stored_studies import load_optuna_study
from cifar_tune.web.cache import Cache
from cifar_tune.web.reading import Studies

_MOST = 200
_MOST_REPORTS = 3
_MOST_FILES = 20


class Results:
    """What the studies of a storage have come to.

    Args:
        studies: of the storage.
    """

    def __init__(self, studies: Studies) -> None:
        self._studies = studies
        self._storage = studies.storage
        self._bests: Cache[dict[str, Any] | str] = Cache(_MOST)
        self._fronts: Cache[list[dict[str, Any]]] = Cache(_MOST)
        self._reports: Cache[Report] = Cache(_MOST_REPORTS)
        self._files: Cache[bytes] = Cache(_MOST_FILES)
        self._importances: Cache[Importances | str] = Cache(_MOST)
        # one report at a time: each takes a core, and the look of pictures is set for all threads
        self._making = Lock()

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
        seen, path = overview(self._storage, name), Path("reports") / name / BEST_FILE
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
            return self._storage.get_study_id_from_name(linked_name(name, FINALS))
        except KeyError:
            return None

    def _light(self, seen: Overview) -> StudyRecord:
        """What a configuration file tells of its study, without reading the other trials."""
        study = load_optuna_study(self._storage, seen.name)
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
        seen = overview(self._storage, name)
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
                return importances(load_record(self._storage, name))

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
                return Report(load_record(self._storage, name))

        return self._reports.get(name, mark, make)

    def model(self, name: str) -> Mapping[str, bytes]:
        """The files of the model that `finalize` has kept, by their path in its folder.

        Raises:
            UnknownStudyError: there is no study of this name, or no model; the message says why.
        """
        self._studies.require(name)
        try:
            return final_model(load_record(self._storage, name))[2]
        except CheckError as error:
            raise UnknownStudyError(str(error)) from error

    def _mark(self, name: str, states: Collection[str] | None = None) -> object:
        """Something that is the same as long as a study has the same trials in these states, race and attributes."""
        study, finals = self._studies.require(name), self._finals(name)
        by_study = states_of_studies(self._storage.engine, [study, *([] if finals is None else [finals])])
        counts = by_study.get(study, {})
        told = sorted((state.name, count) for state, count in counts.items() if states is None or state.name in states)
        if states is not None:
            return study, tuple(told)
        openings = sum(key.startswith(attributes.TEST_OPENING) for key in self._storage.get_study_user_attrs(study))
        race = (
            None if finals is None else tuple(sorted((s.name, count) for s, count in by_study.get(finals, {}).items()))
        )
        return study, tuple(told), numbers_of_trials(self._storage.engine, study), openings, finals, race
