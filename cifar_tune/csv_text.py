"""CSV files that a spreadsheet shows, and never runs.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a formula, and some
formulas start programs. Names of classes, files and choices are whatever somebody called them, so such a cell gets an
apostrophe in front, as OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection). Numbers stay as they are,
negative ones too. `as_named` takes the apostrophe away again.
"""

import csv
from collections.abc import Iterable, Sequence

_BEGINS_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""The last four are the first ones as Chinese and Japanese texts have them."""


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV table with a header, and numbers at full precision; None is an empty field."""
    return csv_rows((header, *rows))


def csv_rows(rows: Iterable[Sequence[object]]) -> str:
    """Lines of such a table, for what is written bit by bit."""
    lines = _Lines()
    csv.writer(lines, lineterminator="\r\n").writerows(map(_cell, cells) for cells in rows)
    return "".join(lines)


class _Lines(list[str]):
    r"""Takes one line after the other from a writer, and ends it with a line feed alone.

    The writer quotes what its own line ends consist of, so it must know `\r` for one (Python 3.11).
    """

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def as_named(cell: str) -> str:
    """The text for which a cell of such a file stands."""
    return cell[1:] if cell.startswith("'") and _could_run(cell) else cell


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and _could_run(value) else value


def _could_run(text: str) -> bool:
    """Whether a text begins like a formula, apart from apostrophes, and is no number."""
    if not text.lstrip("'").startswith(_BEGINS_FORMULA):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return not text[:1].isprintable()  # Python reads numbers behind a tab too
