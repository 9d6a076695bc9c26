"""Collects what is wrong with plugins, with the lines on which it stands."""

from collections.abc import Mapping

from cifar_tune.errors import Problem


class Places:
    """The problems of some plugin files.

    Args:
        lines: for each file, on which line each entry of its dictionaries stands (`execute.entry_lines`).
    """

    def __init__(self, lines: Mapping[str, Mapping[tuple[str, str], int]]) -> None:
        self._lines = lines
        self.problems: list[Problem] = []

    def add(
        self,
        path: str,
        rule: str,
        dictionary: str | None = None,
        name: str = "",
        value: object = None,
        nearest: str | None = None,
    ) -> None:
        """Record one problem of a file: of the whole, of a dictionary, or of one of its entries."""
        known = self._lines[path]
        line = None if dictionary is None else known.get((dictionary, name)) or known.get((dictionary, ""))
        key = f"{dictionary}.{name}" if dictionary and name else dictionary
        self.problems.append(Problem(rule, key, value, path, line, nearest))
