"""Reads the rows of a CSV or Parquet file as text, and tells what is wrong with the file."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.files import open_regular

Records = Iterator[tuple[int, Mapping[str, str | None] | str]]
"""The number of each row, and its values by column or the rule that it breaks. In a CSV file rows are counted by lines,
with the first line as 1; else the first row is 1."""

PARQUET = (".parquet", ".pq")
MOST_ROWS = 10_000_000
"""Of a Parquet file: a small one can hold so many equal rows that they fill any memory."""


def read_rows(file: Path) -> tuple[list[str], Records]:
    """The names of the columns, and the rows.

    Raises:
        UserError: the file cannot be read; also while rows are read, where the file is broken.
    """
    return _read_parquet(file) if file.suffix.lower() in PARQUET else _read_csv(file)


def row_problem(file: Path, number: int, rule: str) -> Problem:
    """What is wrong with a row."""
    return Problem(rule, source=str(file), line=number)


def _read_csv(file: Path) -> tuple[list[str], Records]:
    try:
        with open_regular(file, follow_links=True) as opened:
            text = opened.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(Problem(f"is not UTF-8 text (byte {error.start})", source=str(file))) from error
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    # Lines end as CSV has it: other separators of Unicode belong to the fields that hold them.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def records() -> Records:
        try:
            for found in reader:
                record: dict[Any, Any] = dict(found)
                extra = record.pop(None, None)  # fields beyond the last column
                fields = len(record) + len(extra or ())
                rule = f"has {fields} fields, and the table has {len(record)} columns: put a text with commas in quotes"
                yield reader.line_num, record if extra is None else rule
        except csv.Error as error:
            raise UserError(row_problem(file, reader.reader.line_num, f"is not CSV: {error}")) from error

    try:
        names = list(reader.fieldnames or ())
    except csv.Error as error:
        raise UserError(row_problem(file, 1, f"is not CSV: {error}")) from error
    _require_different(file, names)
    return names, records()


def _read_parquet(file: Path) -> tuple[list[str], Records]:
    try:
        import pyarrow  # noqa: PLC0415 (an extra)
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        rule = "to read a Parquet file, install pyarrow: pip install 'cifar-tune[parquet]'; or save the table as CSV"
        raise UserError(Problem(rule, "data.root", str(file))) from error
    try:
        if not file.is_dir():  # some programs write a folder of files
            with open_regular(file, follow_links=True) as opened, pyarrow.parquet.ParquetFile(opened) as parquet:
                count = parquet.metadata.num_rows
                _require_different(file, parquet.schema_arrow.names)
            if count > MOST_ROWS:
                rule = f"has {count:,} rows, and tables of more than {MOST_ROWS:,} are not read"
                raise UserError(Problem(rule, "data.root", str(file)))
        table = pyarrow.parquet.read_table(file)
        names = list(table.column_names)
        plain = table.to_pylist()
    except (OSError, ValueError, MemoryError, pyarrow.ArrowException) as error:
        raise _unreadable(file, error) from error

    def records() -> Records:
        for number, row in enumerate(plain, start=1):
            try:
                yield number, {name: _as_text(value) for name, value in row.items()}
            except UnicodeDecodeError:
                yield number, "holds bytes that are not UTF-8 text"

    return names, records()


def _as_text(value: object) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 (not a number, as pandas has it where a value is missing)
        return None
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _require_different(file: Path, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        rule = f"has {len([name for name in names if name == twice[0]])} columns of the name {twice[0]!r}: rename one"
        raise UserError(Problem(rule, "data.root", str(file)))


def _unreadable(file: Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        folder = file.parent
        near = nearest_name(file.name, [each.name for each in folder.iterdir()]) if folder.is_dir() else None
        nearest = str(folder / near) if near else None
        return UserError(Problem("there is no such file", "data.root", str(file), nearest=nearest))
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0][:200]
    return UserError(Problem(f"cannot be read ({reason or 'the memory does not suffice'})", "data.root", str(file)))
