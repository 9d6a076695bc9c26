"""Collects everything that is wrong with a file, so that all of it is reported at once."""

from collections.abc import Iterable, Mapping

from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name

Path = tuple[str | int, ...]
"""The keys and positions that lead to a value."""


class Problems:
    """The problems found so far in one file.

    `lines` maps paths to line numbers; `overridden` holds the paths that came from `--set`.
    """

    def __init__(
        self, source: str | None, lines: Mapping[Path, int] | None = None, overridden: Iterable[Path] = ()
    ) -> None:
        self._source = source
        self._lines = lines or {}
        self._overridden = frozenset(overridden)
        self._found: list[Problem] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, path: Path, rule: str, value: object = None, nearest: str | None = None) -> None:
        """Record one problem at `path`."""
        source, line = self._place(path)
        self._found.append(Problem(rule, dotted(path) or None, value, source, line, nearest))

    def add_at_line(self, line: int | None, rule: str) -> None:
        """Record a problem of the file as a whole, or of its syntax."""
        self._found.append(Problem(rule, source=self._source, line=line))

    def unknown_key(self, path: Path, names: Iterable[str]) -> None:
        """Record that the last key of `path` is none of `names`."""
        names = list(names)
        nearest = nearest_name(str(path[-1]), names)
        rule = "unknown key" if nearest else f"unknown key; known here: {', '.join(names)}"
        self.add(path, rule, nearest=nearest)

    def add_name(self, path: Path, value: object, names: Iterable[str]) -> None:
        """Record that `value` is none of `names`."""
        names = sorted(names)
        nearest = nearest_name(value, names) if isinstance(value, str) else None
        self.add(path, f"must be {enumerate_names(names)}", value, nearest)

    def raise_if_any(self) -> None:
        """Raise `UserError` with all problems found, in the order of their lines."""
        if self._found:
            raise UserError(sorted(self._found, key=lambda problem: problem.line or 0))

    def _place(self, path: Path) -> tuple[str | None, int | None]:
        for end in range(len(path), 0, -1):
            if path[:end] in self._overridden:
                return "--set", None
            if path[:end] in self._lines:
                return self._source, self._lines[path[:end]]
        return self._source, None


def dotted(path: Path) -> str:
    """`search_space.lr.choices[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
