"""A table of images: a CSV or Parquet file with a row per image, which has a path, a label and perhaps a split.

Without a column of splits, or without rows for the test, a test split is held out. Preparing for training reads the
whole table, but opens no test image.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cifar_tune.data.sources.folder_files import Stamp, stamp
from cifar_tune.data.sources.folder_layout import FOLDER_NAMES, Role
from cifar_tune.data.sources.listing import Listing, listed_part
from cifar_tune.data.sources.part import SourcePart, SplitFiles
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test
from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name
from cifar_tune.paths import given_path

PARQUET = (".parquet", ".pq")
_NAMED = 10
"""Problems that are named; the others are counted."""

_DEFAULT_SPLIT = "split"


@dataclass(frozen=True, slots=True)
class _Row:
    """An image of the table; `number` is its line in a CSV file, else its row, both from 1."""

    number: int
    path: str
    label: str
    role: Role


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
    return replace(part, splits=splits, validation=given)


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
    """

    def __init__(self, spec: DataSpec) -> None:
        self._file = given_path(str(spec.root), "data.root")
        self.root = self._file.parent
        self.rows: dict[Role, list[_Row]] = {role: [] for role in FOLDER_NAMES}
        for row in _rows(self._file, spec):
            self.rows[row.role].append(row)
        if not self.rows["training"]:
            raise UserError(Problem("has no row for training", source=str(self._file)))
        self.classes = _sorted({row.label for row in self.rows["training"]})
        if len(self.classes) < 2:
            raise UserError(Problem(f"must have two labels at least; found {self.classes[0]!r} alone", "data.root"))
        self._has_test = bool(self.rows["test"])

    def listing(self, role: Role) -> Listing:
        """The files of a split.

        Raises:
            UserError: files are missing, or have a label that no training image has.
        """
        numbers = {name: index for index, name in enumerate(self.classes)}
        stamps: list[Stamp] = []
        problems: list[Problem] = []
        for row in self.rows[role]:
            if row.label not in numbers:
                rule = f"no training image has the label {row.label!r} of this {role} image"
                problems.append(_problem(self._file, row.number, rule))
            try:
                stamps.append(stamp((self.root / row.path).stat()))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                problems.append(_problem(self._file, row.number, f"{row.path!r} cannot be read: {reason}"))
        _raise(problems)
        labels = np.array([numbers[row.label] for row in self.rows[role]], dtype=np.int64)
        return Listing([row.path for row in self.rows[role]], stamps, labels)

    def training(self) -> tuple[Listing, Listing]:
        """The files for training, and those of them that are held out for the test."""
        listing = self.listing("training")
        if self._has_test:
            return listing, listing.chosen(np.empty(0, dtype=np.int64))
        has_validation = bool(self.rows["validation"])
        rest, test = held_out_for_test(listing.labels, self.classes, has_validation=has_validation)
        return listing.chosen(rest), listing.chosen(test)


def _rows(file: Path, spec: DataSpec) -> Iterator[_Row]:
    """The rows, checked.

    Raises:
        UserError: with the first rows that are wrong.
    """
    table = _read_parquet(file) if file.suffix.lower() in PARQUET else _read_csv(file)
    columns, records = table
    path_column = _column(file, columns, spec.path_column or "path", "data.path_column")
    label_column = _column(file, columns, spec.label_column or "label", "data.label_column")
    split_column = None
    if spec.split_column is not None or _DEFAULT_SPLIT in columns:
        split_column = _column(file, columns, spec.split_column or _DEFAULT_SPLIT, "data.split_column")
    roles = {word: role for role, words in FOLDER_NAMES.items() for word in words}
    seen: dict[str, int] = {}
    problems: list[Problem] = []
    for number, record in records:
        path, label = record.get(path_column) or "", record.get(label_column) or ""
        role: Role | None = "training"
        if split_column is not None:
            role = roles.get((record.get(split_column) or "").strip().lower())
        if not path or not label:
            problems.append(_problem(file, number, f"has no {'path' if not path else 'label'}"))
        elif role is None:
            rule = f"its split must be train, val or test, not {record.get(split_column or '')!r}"
            problems.append(_problem(file, number, rule))
        elif (first := seen.setdefault(os.path.normpath(path), number)) != number:
            problems.append(_problem(file, number, f"{path!r} stands in row {first} too; name every image once"))
        else:
            yield _Row(number, path, label, role)
    _raise(problems)


_Records = Iterator[tuple[int, Mapping[str, str | None]]]


def _read_csv(file: Path) -> tuple[list[str], _Records]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(Problem(f"is not UTF-8 text (byte {error.start})", source=str(file))) from error
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    lines = text.splitlines(keepends=True)
    first = lines[0] if lines else ""
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(lines, delimiter=delimiter, strict=True)

    def records() -> _Records:
        try:
            for record in reader:
                yield reader.line_num, record
        except csv.Error as error:
            raise UserError(_problem(file, reader.line_num, f"is not CSV: {error}")) from error

    return list(reader.fieldnames or ()), records()


def _read_parquet(file: Path) -> tuple[list[str], _Records]:
    try:
        import pyarrow  # noqa: PLC0415 (an extra)
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        rule = "to read a Parquet file, install pyarrow: pip install 'cifar-tune[parquet]'; or save the table as CSV"
        raise UserError(Problem(rule, "data.root", str(file))) from error
    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(file, error) from error
    rows = enumerate(table.to_pylist(), start=1)
    texts = (
        (number, {name: None if value is None else str(value) for name, value in row.items()}) for number, row in rows
    )
    return list(table.column_names), texts


def _column(file: Path, columns: Sequence[str], name: str, key: str) -> str:
    if name not in columns:
        rule = f"{file} has no such column; it has {enumerate_names(list(columns), 'and') if columns else 'none'}"
        raise UserError(Problem(rule, key, name, nearest=nearest_name(name, columns)))
    return name


def _sorted(labels: set[str]) -> tuple[str, ...]:
    if all(label.isascii() and label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _problem(file: Path, number: int, rule: str) -> Problem:
    return Problem(rule, source=str(file), line=number)


def _raise(problems: list[Problem]) -> None:
    if problems:
        left = len(problems) - _NAMED
        raise UserError(problems[:_NAMED] + ([Problem(f"and {left:,} more rows like these")] if left > 0 else []))


def _unreadable(file: Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        folder = file.parent
        near = nearest_name(file.name, [each.name for each in folder.iterdir()]) if folder.is_dir() else None
        nearest = str(folder / near) if near else None
        return UserError(Problem("there is no such file", "data.root", str(file), nearest=nearest))
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UserError(Problem(f"cannot be read ({reason})", "data.root", str(file)))
