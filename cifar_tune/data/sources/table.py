"""A table of images: a CSV or Parquet file with a row per image, which has a path, a label and perhaps a split.

Without a column of splits, or without rows for the test, a test split is held out. Preparing for training reads the
whole table, but opens no test image.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cifar_tune.data.sources.class_names import label_notes
from cifar_tune.data.sources.folder_files import Stamp, stamp
from cifar_tune.data.sources.folder_layout import FOLDER_NAMES, Role
from cifar_tune.data.sources.listing import Listing, listed_part
from cifar_tune.data.sources.part import SourcePart, SplitFiles
from cifar_tune.data.sources.table_files import Records, read_rows, row_problem
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test
from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name
from cifar_tune.paths import given_path

_NAMED = 10
"""Problems that are named; the others are counted."""

_SPLIT = "split"
_OFTEN: Mapping[str, tuple[str, ...]] = {
    "path": (
        "file",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "image",
        "image_path",
        "img",
        "img_path",
    ),
    "label": ("class", "class_name", "category", "species", "target", "y", "class_id", "label_name", "labels"),
}
"""What others call the columns."""

_ROLES: Mapping[str, Role] = {word: role for role, words in FOLDER_NAMES.items() for word in words}


@dataclass(frozen=True, slots=True)
class _Row:
    """An image of the table; `number` is its line in a CSV file, else its row, both from 1; `record` all of the row."""

    number: int
    path: str
    label: str
    role: Role
    record: Mapping[str, str | None]


def training_part(spec: DataSpec) -> SourcePart:
    """The rows for training, less those held out where none is for the test, and then those for validation."""
    table = _Table(spec)
    training, held_out = table.training()
    validation = table.listing("validation")
    given = len(validation.paths) or None
    part = listed_part(table.root, table.classes, spec, training + validation if given else training)
    origin = f"{given:,} rows" if given else "drawn from the rows for training"
    tested = len(table.rows["test"])
    test = f"{tested:,} rows" if tested else f"{len(held_out.paths):,} rows held out of those for training"
    splits = f"training: {len(training.paths):,} rows; validation: {origin}; test: {test} (only finalize opens them)"
    return replace(part, notes=table.notes, splits=splits, validation=given)


def test_part(spec: DataSpec) -> SourcePart:
    """The rows for the test, or those held out.

    Raises:
        UserError: they have a class that no training image has.
    """
    table = _Table(spec)
    training, held_out = table.training()
    test = table.listing("test") if table.rows["test"] else held_out
    return listed_part(table.root, table.classes, spec, test, training + table.listing("validation"))


def split_files(spec: DataSpec) -> SplitFiles:
    """The files of all splits, by their paths alone. For `cifar_tune.data.duplicates`."""
    table = _Table(spec)
    training, held_out = table.training()
    test = [row.path for row in table.rows["test"]] or held_out.paths
    return SplitFiles(table.root, training.paths + table.listing("validation").paths, test)


class _Table:
    """The rows of the table, by split.

    Attributes:
        root: the folder that it lies in.
        classes: the labels of training images, sorted; whole numbers by their value.
        rows: by split.
        notes: what people should know of it.

    Raises:
        UserError: with everything that is wrong with columns, rows, and the files for training and validation.
    """

    def __init__(self, spec: DataSpec) -> None:
        self._file = given_path(str(spec.root), "data.root")
        self.root = self._file.parent
        self.rows: dict[Role, list[_Row]] = {role: [] for role in FOLDER_NAMES}
        self._stamps: dict[str, Stamp] = {}
        found, records = read_rows(self._file)
        columns, problems = _columns(self._file, found, spec)
        rows, wrong_rows = _rows(self._file, records, columns)
        for row in rows:
            self.rows[row.role].append(row)
        self.classes = _sorted({row.label for row in self.rows["training"]})
        if columns.path is not None and not columns.is_split_unknown:
            wrong_rows += self._look(("training", "validation"), has_labels=columns.label is not None)
        alike: tuple[str, ...] = ()
        try:
            alike = tuple(label_notes(str(self._file), self.classes)) if columns.label is not None else ()
        except UserError as error:
            problems += error.problems
        _raise(problems, wrong_rows)
        if not self.rows["training"]:
            raise UserError(Problem("has no row for training", source=str(self._file)))
        if len(self.classes) < 2:
            raise UserError(Problem(f"must have at least two labels; found only {self.classes[0]!r}", "data.root"))
        self._has_test = bool(self.rows["test"])
        self.notes = (*_notes(found, rows, columns), *alike)

    def listing(self, role: Role) -> Listing:
        """The files of a split.

        Raises:
            UserError: files are missing, or have a label that no training image has.
        """
        if role == "test":  # those of the other splits were looked at when the table was read
            _raise([], self._look((role,), has_labels=True))
        numbers = {name: index for index, name in enumerate(self.classes)}
        labels = np.array([numbers[row.label] for row in self.rows[role]], dtype=np.int64)
        paths = [row.path for row in self.rows[role]]
        return Listing(paths, [self._stamps[path] for path in paths], labels)

    def _look(self, roles: Sequence[Role], has_labels: bool) -> list[Problem]:
        """See that the files of some splits are there, and that training images have the same labels."""
        problems: list[Problem] = []
        known = set(self.classes)
        for row in (row for role in roles for row in self.rows[role]):
            if has_labels and row.label not in known:
                rule = f"no training image has the label {row.label!r} of this {row.role} image"
                problems.append(row_problem(self._file, row.number, rule))
            try:
                state = (self.root / row.path).stat()
                if not stat.S_ISREG(state.st_mode):
                    raise ValueError("it is no file, but a folder, a pipe or a device")
                self._stamps[row.path] = stamp(state)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                problems.append(row_problem(self._file, row.number, f"{row.path!r} cannot be read: {reason}"))
        return problems

    def training(self) -> tuple[Listing, Listing]:
        """The files for training, and those of them that are held out for the test."""
        listing = self.listing("training")
        if self._has_test:
            return listing, listing.chosen(np.empty(0, dtype=np.int64))
        has_validation = bool(self.rows["validation"])
        rest, test = held_out_for_test(listing.labels, self.classes, has_validation=has_validation)
        return listing.chosen(rest), listing.chosen(test)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns are read.

    Attributes:
        path, label: None where there is no such column.
        split: None where all rows are for training.
        is_split_unknown: whether the column of splits that was asked for is not there.
    """

    path: str | None
    label: str | None
    split: str | None
    is_split_unknown: bool


def _columns(file: Path, found: Sequence[str], spec: DataSpec) -> tuple[_Columns, list[Problem]]:
    """Find the columns; what is wrong with all of them is returned."""
    problems: list[Problem] = []

    def column(default: str, given: str | None) -> str | None:
        name = given or default
        if name in found:
            return name
        key = f"data.{default}_column"
        has = f"{file} has no column {name!r}; it has {enumerate_names(list(found), 'and') if found else 'none'}"
        if given is not None:
            problems.append(Problem(has, key, given, nearest=nearest_name(given, found)))
        else:
            others = {spec.path_column, spec.label_column, spec.split_column}
            free = {each.lower(): each for each in found if each not in others}
            nearest = next((free[word] for word in (default, *_OFTEN[default]) if word in free), None)
            problems.append(Problem(f"is not given, and {has}. Name the one with the {default}s", key, nearest=nearest))
        return None

    path, label = column("path", spec.path_column), column("label", spec.label_column)
    wants_split = spec.split_column is not None or _SPLIT in found
    split = column(_SPLIT, spec.split_column) if wants_split else None
    return _Columns(path, label, split, wants_split and split is None), problems


def _rows(file: Path, records: Records, columns: _Columns) -> tuple[list[_Row], list[Problem]]:
    """The rows that can be used, and what is wrong with the others."""
    rows: list[_Row] = []
    seen: dict[str, int] = {}
    problems: list[Problem] = []
    try:
        for number, record in records:
            if isinstance(record, str):
                problems.append(row_problem(file, number, record))
                continue
            path, label = (record.get(name) or "" if name else "" for name in (columns.path, columns.label))
            role: Role | None = "training"
            if columns.split is not None:
                role = _ROLES.get((record.get(columns.split) or "").strip().lower())
            missing = [
                name
                for name, column, value in (("path", columns.path, path), ("label", columns.label, label))
                if column is not None and not value
            ]
            if missing:
                problems.append(row_problem(file, number, f"has no {' and no '.join(missing)}"))
            elif role is None:
                rule = f"its split must be train, val or test, not {record.get(columns.split or '') or ''!r}"
                problems.append(row_problem(file, number, rule))
            elif path and (first := seen.setdefault(os.path.normpath(path), number)) != number:
                problems.append(row_problem(file, number, f"{path!r} stands in row {first} too; name every image once"))
                rows.append(_Row(number, path, label, role, record))  # its label may be wrong, too
            else:
                rows.append(_Row(number, path, label, role, record))
    except UserError as error:  # the file is broken from here on
        problems += error.problems
    return rows, problems


def _notes(found: Sequence[str], rows: Sequence[_Row], columns: _Columns) -> tuple[str, ...]:
    """A sentence where a column looks as if it said which split a row belongs to, and nobody reads it."""
    if columns.split is not None:
        return ()
    others = [name for name in found if name not in (columns.path, columns.label)]
    alike = [name for name in others if all((row.record.get(name) or "").strip().lower() in _ROLES for row in rows)]
    return tuple(
        f"the column {name!r} of the table is not read, so all rows are for training; if it says which split a row "
        f"belongs to, add data.split_column: {name}"
        for name in alike[:1]
    )


def _sorted(labels: set[str]) -> tuple[str, ...]:
    if all(label.isascii() and label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _raise(problems: Sequence[Problem], of_rows: Sequence[Problem]) -> None:
    """Tell everything at once; of many rows, the first ones.

    Raises:
        UserError: if there is anything to tell.
    """
    ordered = sorted(of_rows, key=lambda problem: problem.line or 0)
    left = len(ordered) - _NAMED
    more = [Problem(f"and {left:,} more rows like these")] if left > 0 else []
    if problems or ordered:
        raise UserError([*problems, *ordered[:_NAMED], *more])
