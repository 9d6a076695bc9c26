"""What studies have come to: best configurations, Pareto fronts, importances, reports and models.

All of it blocks, so that routes call it in threads. Answers are kept for as long as no trial has ended since.
"""

from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import Any

from optuna.trial import FrozenTrial

from cifar_tune.errors import CheckError
from cifar_tune.optuna_questions import numbers_of_trials, states_of_studies
from cifar_tune.reports.best_config import BEST_FILE, best_yaml, resolved_config
from cifar_tune.reports.cache import Cache
from cifar_tune.reports.comparison import Comparison, compare_in
from cifar_tune.reports.comparison_files import cells, contents, level_figures, markdown
from cifar_tune.reports.export import FORMATS, file_content, file_names
from cifar_tune.reports.kept_importances import KeptImportances
from cifar_tune.reports.report import Report
from cifar_tune.reports.weights import final_model_files, read_here
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.storage import attributes
from cifar_tune.storage.linked import FINALS, linked_name, parent_of
from cifar_tune.storage.overview import Overview
from cifar_tune.storage.records import StudyRecord, TrialRecord, load_record
from cifar_tune.storage.stored_studies import identity_of, load_optuna_study, study_names
from cifar_tune.storage.versions import successor
from cifar_tune.web.reading import Studies, finite

_MOST = 200
_LATER = "They are being computed; look again in a few seconds."
_MOST_REPORTS = 3
_MOST_FILES = 20
_COMPARED = "compare"


class Results:
    """What the studies of a storage have come to.

    Attributes:
        kept_importances: of the studies.

    Args:
        studies: of the storage.
    """

    def __init__(self, studies: Studies) -> None:
        self._studies = studies
        self._storage = studies.storage
        self._bests: Cache[dict[str, Any] | str] = Cache(_MOST)
        self._reports: Cache[Report] = Cache(_MOST_REPORTS)
        self._files: Cache[bytes] = Cache(_MOST_FILES)
        # one report at a time: each takes a core, and the look of pictures is set for all threads
        self._making = Lock()
        self.kept_importances = KeptImportances(self._storage, self._making)

    def best(self, name: str) -> dict[str, Any]:
        """What the study has come to: every knob as it stands in a file, and that file's text.

        That is the winner of its race, where one is over, else the best trial.

        Raises:
            UnknownStudyError: there is no study of this name, or no best trial in it yet; the message says why.
        """
        if self._finals(name) is not None:
            found = self._bests.get(
                (name, True), lambda: self._mark(name), lambda: self._best(self._studies.seen_now(name), True)
            )
        else:
            seen = self._studies.seen(name)
            best = None if seen.best is None else (seen.best.number, seen.best.values, seen.best.repeated)
            # how many have completed is told where none is the best
            mark = seen.identity, best, seen.counts.get("COMPLETE") if best is None else None
            found = self._bests.get((name, False), lambda: mark, lambda: self._best(seen, False))
        if isinstance(found, str):
            raise UnknownStudyError(found)
        return found

    def _best(self, seen: Overview, has_raced: bool) -> dict[str, Any] | str:
        name, path = seen.name, Path("reports") / seen.name / BEST_FILE
        if seen.best is None:
            return f"{seen.without_best_words}{'' if parent_of(name) is not None else ' yet'}"
        chosen, text = seen.best, None
        if has_raced:
            report = self._report(name)
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

    def _light(
        self, seen: Overview, trials: Sequence[TrialRecord] = (), completed: Sequence[FrozenTrial] = ()
    ) -> StudyRecord:
        """What is known of a study without reading its trials, and these of them."""
        study, newer = load_optuna_study(self._storage, seen.name), successor(seen.name)
        return StudyRecord(
            name=seen.name,
            spec=seen.spec,
            environment=study.user_attrs.get(attributes.ENVIRONMENT, {}),
            data=seen.data,
            elapsed_seconds=seen.elapsed_seconds,
            openings=seen.openings,
            trials=trials,
            completed=completed,
            study=study,
            succeeded_by=newer if newer is not None and newer in study_names(self._storage) else None,
        )

    def front(self, name: str) -> list[dict[str, Any]]:
        """The Pareto front, best first objective first; of one objective the best trial alone.

        Raises:
            UnknownStudyError: there is no study of this name.
        """
        seen = self._studies.seen(name)
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
        seen = self._studies.seen(name)
        study = self._studies.require(name)
        made = self.kept_importances.get(study, name, seen.identity, seen.counts.get("COMPLETE", 0))
        found = _LATER if made is None else made.all
        if isinstance(found, str):
            return {"shares": {}, "basis": None, "why_none": found}
        return {"shares": dict(found.shares), "basis": found.basis, "why_none": None}

    def report(self, name: str, formats: Sequence[str] = ()) -> Sequence[str]:
        """The files that `cifar-tune export` would write, by their path in its folder; pictures also in `formats`.

        Raises:
            UnknownStudyError: there is no study of this name.
        """
        return file_names(self._report(name), formats)

    def report_file(self, name: str, file: str) -> bytes:
        """One of these files; a picture also as SVG or PDF.

        Raises:
            UnknownStudyError: there is no study of this name, or no such file.
        """

        def make() -> bytes:
            report = self._report(name)
            with self._making:
                return file_content(report, file, Path("reports") / name)

        try:
            return self._files.get((name, file), lambda: self._mark(name), make)
        except KeyError:
            raise UnknownStudyError(f"there is no file {file!r} in the report of the study {name!r}") from None

    def comparison(self, name: str, knob: str) -> dict[str, Any]:
        """The levels of a knob, as `cifar-tune compare` shows them.

        Raises:
            UnknownStudyError: there is no study of this name.
            UserError: there is no such knob, no trial took it, or it was the same in all trials.
        """
        found = self._compared(name, knob)
        header, rows = cells(found)
        return {
            "study": name,
            "knob": knob,
            "metric": found.report.record.spec.objective.metric,
            "header": list(header),
            "rows": [list(row) for row in rows],
            "conditions": found.conditions,
            "levels": finite(level_figures(found)),
            "markdown": markdown(found),
        }

    def comparison_file(self, name: str, knob: str, kind: str) -> bytes:
        """One of the files that `cifar-tune compare` writes, by the end of its name.

        Raises:
            UnknownStudyError: there is no study of this name.
            UserError: as `comparison`.
        """

        def make() -> bytes:
            found = self._compared(name, knob)
            with self._making:
                content = contents(found, [kind] if kind in FORMATS else ())[kind]
            return content.encode() if isinstance(content, str) else content

        return self._files.get((name, _COMPARED, knob, kind), lambda: self._mark(name), make)

    def _compared(self, name: str, knob: str) -> Comparison:
        return compare_in(self._report(name), knob, "by")

    def _report(self, name: str) -> Report:
        def make() -> Report:
            with self._making:
                return Report(load_record(self._storage, name))

        return self._reports.get(name, lambda: self._mark(name), make)

    def model(self, name: str) -> Mapping[str, int]:
        """The sizes in bytes of the files of the model that `finalize` has kept, by their path in its folder.

        Raises:
            UnknownStudyError: there is no study of this name, or no model; the message says why.
        """
        record = self._light(self._studies.seen_now(name))
        try:
            with read_here(record):
                return {file: each.size() for file, each in final_model_files(record).items()}
        except CheckError as error:
            raise UnknownStudyError(str(error)) from error

    def model_file(self, name: str, file: str) -> BufferedReader:
        """One of these files, open at its beginning.

        Raises:
            UnknownStudyError: there is no study of this name, no model, or no such file in it; the message says why.
        """
        record = self._light(self._studies.seen_now(name))
        try:
            with read_here(record):
                found = final_model_files(record).get(file)
                if found is None:
                    raise UnknownStudyError(f"there is no file {file!r} in the model of the study {name!r}")
                return found.open()
        except CheckError as error:
            raise UnknownStudyError(str(error)) from error

    def _mark(self, name: str) -> object:
        """Something that is the same as long as a study has the same trials in the same states, and the same race.

        It is never that of another study.
        """
        study, finals = self._studies.require(name), self._finals(name)
        of_race = None
        if finals is not None:
            of_race = identity_of(self._storage.engine, finals, self._storage.get_study_user_attrs(finals))
        by_study = states_of_studies(self._storage.engine, [study, *([] if finals is None else [finals])])
        told, race = (
            tuple(sorted((state.name, count) for state, count in by_study.get(each, {}).items()))
            for each in (study, -1 if finals is None else finals)
        )
        attrs = self._storage.get_study_user_attrs(study)
        openings = sum(key.startswith(attributes.TEST_OPENING) for key in attrs)
        identity = identity_of(self._storage.engine, study, attrs)
        return study, identity, told, numbers_of_trials(self._storage.engine, study), openings, of_race, race
