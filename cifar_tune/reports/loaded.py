"""A stored study in Python: for notebooks, and for the commands."""

from collections.abc import Collection
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cifar_tune.errors import Problem, UserError, enumerate_names
from cifar_tune.paths import given_path
from cifar_tune.plotting import style
from cifar_tune.reports.best_config import resolved_config
from cifar_tune.reports.comparison import Comparison, compare
from cifar_tune.reports.comparison_files import draw
from cifar_tune.reports.epochs_csv import epoch_rows
from cifar_tune.reports.export import FORMATS, export, report_folder
from cifar_tune.reports.pictures import PARETO, PICTURES, Picture
from cifar_tune.reports.report import Report
from cifar_tune.reports.trials_csv import trial_rows
from cifar_tune.storage.rdb import close, open_existing, without_studies
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import shown, storage_url


def load_study(name: str, storage: str | None = None) -> "LoadedStudy":
    """Read a study as it is in the storage now. Read it again to see what is new.

    `storage` is a URL such as `sqlite:///studies.db`. The default is `CIFAR_TUNE_STORAGE`, or
    `sqlite:///storage/cifar_tune.db`.

    Raises:
        UserError: if there is no such storage, or it has no such study.
        CheckError: if the database does not answer.
    """
    url = storage_url(storage)
    opened = open_existing(url)
    if opened is None:
        raise UserError(Problem(f"no study {name!r}: {without_studies(url)}", shown(url)))
    try:
        return LoadedStudy(load_record(opened, name))
    finally:
        close(opened)


class LoadedStudy:
    """A study with all its trials, read once. Several studies can be open at a time, each with its own plugins.

    Attributes:
        record: its trials, typed (`cifar_tune.storage.records`).
    """

    def __init__(self, record: StudyRecord) -> None:
        self.record = record

    def __repr__(self) -> str:
        best = "" if self.best_value is None else f", best {self.record.spec.objective.metric} {self.best_value:.6g}"
        return f"<study {self.record.name}: {len(self.record.trials):,} trials{best}>"

    @cached_property
    def report(self) -> Report:
        """The figures that tables and pictures are made from."""
        return Report(self.record)

    @property
    def best_value(self) -> float | None:
        """The objective of `best_config`, the first one of several; None if there is none yet.

        After a race it is the mean of the winner's fresh trainings, otherwise the value of the best trial.
        """
        raced = self.report.raced
        if raced is not None and raced.mean is not None:
            return raced.mean
        return self.report.best.value if self.report.best else None

    def best_config(self) -> dict[str, Any]:
        """Every knob of the configuration that is the study's result, as in `best.yaml`.

        This is the winner of the race of `finalize`, or else the best trial, by the first of several objectives.

        Raises:
            UserError: if no trial has completed and kept all constraints.
        """
        if self.report.chosen is None:
            yet = "" if self.report.is_linked else " yet"
            raise UserError(Problem(f"{self.record.without_best_words}{yet}"))
        return resolved_config(self.report.chosen, self.record.spec)

    def trials_table(self) -> list[dict[str, object]]:
        """One mapping per trial, with the columns of `trials.csv`; None for empty cells."""
        columns, rows = trial_rows(self.report)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def trials_frame(self) -> Any:
        """The same as a pandas DataFrame, one row per trial, times as timestamps.

        Raises:
            UserError: if pandas is not installed.
        """
        columns, rows = trial_rows(self.report)
        return _pandas("trials").DataFrame(rows, columns=columns)

    def epochs_table(self) -> list[dict[str, object]]:
        """One mapping per trial and epoch, with the columns of `epochs.csv`; None for empty cells."""
        columns, rows = epoch_rows(self.report)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def epochs_frame(self) -> Any:
        """The same as a pandas DataFrame, one row per trial and epoch.

        Raises:
            UserError: if pandas is not installed.
        """
        columns, rows = epoch_rows(self.report)
        return _pandas("epochs").DataFrame(rows, columns=columns)

    def plot_history(self) -> Figure:
        """Every trial by its number, and the best so far."""
        return self._drawn(PICTURES["history.png"])

    def plot_importance(self) -> Figure:
        """The importance of each searched knob for reaching the best trials."""
        return self._drawn(PICTURES["importance.png"])

    def plot_slices(self) -> Figure:
        """The objective against each searched knob."""
        return self._drawn(PICTURES["slices.png"])

    def plot_parallel_coordinates(self) -> Figure:
        """All knobs together, one line per completed trial."""
        return self._drawn(PICTURES["parallel_coordinates.png"])

    def plot_learning_curves(self) -> Figure:
        """Accuracy and loss by epoch of the best trials, with pruned ones behind."""
        return self._drawn(PICTURES["learning_curves.png"])

    def plot_pareto(self) -> Figure:
        """Several objectives against each other, with the Pareto front.

        Raises:
            UserError: if the study has one objective.
        """
        if not self.record.spec.has_several_objectives:
            raise UserError(Problem("has one objective, so no Pareto front", source=self.record.name))
        return self._drawn(PARETO["pareto.png"])

    def plot_comparison(self, knob: str) -> Figure:
        """The levels of a knob side by side.

        Raises:
            UserError: if there is no such knob, no trial took it, or it was the same in all trials.
        """
        with style.applied():
            return _finished(draw(self.compare(knob)))

    def compare(self, knob: str, key: str = "knob") -> Comparison:
        """The one-factor table of a knob; error messages call it `key`.

        Raises:
            UserError: if there is no such knob, no trial took it, or it was the same in all trials.
        """
        return compare(self.record, knob, key)

    def export(self, folder: Path | str | None = None, formats: Collection[str] = ()) -> list[Path]:
        """Write the whole report into the folder, by default `reports/STUDY/`, and return its files.

        Args:
            folder: where they go.
            formats: `svg` or `pdf`, or both: each picture is written so too, beside PNG.

        Raises:
            UserError: if it cannot be written, the study has a name that no folder can have, or a format is unknown.
        """
        for each in formats:
            if each not in FORMATS:
                raise UserError(Problem(f"must be {enumerate_names(FORMATS)}", "formats", each))
        into = report_folder(self.record.name) if folder is None else given_path(folder, "folder")
        return export(self.record, into, formats)

    def _drawn(self, picture: Picture) -> Figure:
        with style.applied():
            drawn = picture.draw(self.report)
            return _finished(style.sentence(drawn) if isinstance(drawn, str) else drawn)


def _pandas(what: str) -> Any:
    """The module, for the frame of `what`."""
    try:
        return import_module("pandas")
    except ModuleNotFoundError as error:
        rule = f"needs pandas: pip install 'cifar-tune[notebook]'; {what}_table() works without it"
        raise UserError(Problem(rule, f"{what}_frame()")) from error


def _finished(figure: Figure) -> Figure:
    """The figure with all its texts made, so that it keeps its look outside of the style's context."""
    style.finish(figure)
    figure.draw_without_rendering()
    return figure
