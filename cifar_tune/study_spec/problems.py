"""Collects everything that is wrong with a file, so that all of it is reported at once."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name
from cifar_tune.synonyms import same_thing

Path = tuple[str | int, ...]
"""The keys and positions that lead to a value."""

_MOST_LISTED = 20
"""Names in one message: a list of all knobs would hide it."""

_MOST_COMPARED = 200
"""Unknown keys that are compared with all names, letter by letter: a file with more of them is no study file."""


_BEGINS_WITH_KEY = re.compile(r"[a-z_]+(?:\.[a-z_]+)*(?= = |: )")


class Problems:
    """The problems found so far in one file.

    `lines` maps paths to line numbers; `overridden` maps the paths that came from options to the option's name.
    """

    def __init__(
        self,
        source: str | None,
        lines: Mapping[Path, int] | None = None,
        overridden: Mapping[Path, str] | None = None,
    ) -> None:
        self._source = source
        self._lines = {} if lines is None else lines
        self._overridden = overridden or {}
        self._found: list[Problem] = []
        self._wrong: set[Path] = set()
        self._around: set[Path] = set()
        self.unknown_keys: list[Path] = []
        """Keys that are none of those that can stand in their place."""

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def count(self) -> int:
        """How many were found so far."""
        return len(self._found)

    @property
    def found(self) -> tuple[Problem, ...]:
        """All of them."""
        return tuple(self._found)

    def add(self, path: Path, rule: str, value: object = None, nearest: str | None = None) -> None:
        """Record one problem at `path`."""
        source, line = self.place(path)
        self._found.append(Problem(rule, dotted(path) or None, value, source, line, nearest))
        self._mark(path)

    def add_at_line(self, line: int | None, rule: str) -> None:
        """Record a problem of the file as a whole, or of its syntax."""
        self._found.append(Problem(rule, source=self._source, line=line))

    def include(self, problems: Iterable[Problem], path: Path = ()) -> None:
        """Record the problems of another file, which this one names at `path`."""
        for problem in problems:
            self._found.append(problem)
            self._mark(path)

    def is_sound(self, path: Path) -> bool:
        """Whether nothing is wrong so far with what stands at `path`, inside of it and around it."""
        return path not in self._around and not any(path[:length] in self._wrong for length in range(1, len(path) + 1))

    def _mark(self, path: Path) -> None:
        if path:
            self._wrong.add(path)
            self._around.update(path[:length] for length in range(len(path) + 1))

    def unknown_key(self, path: Path, names: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> None:
        """Record that the last key of `path` is none of `names`.

        `elsewhere` has keys of other sections, and the dotted path of each. What means the same is suggested rather
        than what only looks similar.
        """
        key, names = str(path[-1]), list(names)
        paths = {**(elsewhere or {}), **{name: name for name in names}}
        meant = same_thing(key, names) or same_thing(key, paths)
        if meant is None and len(self.unknown_keys) < _MOST_COMPARED:
            meant = nearest_name(key, names) or nearest_name(key, paths)
        nearest = paths[meant] if meant else None
        if nearest:
            known = ""
        elif len(names) > _MOST_LISTED:
            known = "; `cifar-tune knobs` lists what there is"
        else:
            known = f"; known here: {', '.join(names)}"
        self.unknown_keys.append(path)
        self.add(path, f"unknown key{known}", nearest=nearest)

    def add_name(self, path: Path, value: object, names: Iterable[str]) -> None:
        """Record that `value` is none of `names`."""
        names = sorted(names)
        nearest = nearest_name(value, names) if isinstance(value, str) else None
        self.add(path, f"must be {enumerate_names(names)}", value, nearest)

    def is_option(self, path: Path) -> bool:
        """Whether an option such as `--set` put this there, and not the file."""
        return path in self._overridden

    def raise_if_any(self) -> None:
        """Raise `UserError` with all problems found, in the order of their lines."""
        if self._found:
            raise UserError(sorted(self._found, key=lambda problem: problem.line or 0))

    def place(self, path: Path) -> tuple[str | None, int | None]:
        """The file or option that holds what stands at `path`, and its line; of the section where it is left out."""
        prefixes = [path[:end] for end in range(len(path), 0, -1)]
        for prefix in prefixes:
            if prefix in self._overridden:
                return self._overridden[prefix], None
        if path not in self._lines:
            for overridden, option in self._overridden.items():
                if overridden[: len(path)] == path:
                    return option, None
        return self._source, next((self._lines[prefix] for prefix in prefixes if prefix in self._lines), None)

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Add the file and line to mistakes that only show when the file is used, such as a folder that is not there.

        Raises:
            UserError: what was raised inside, with places.
        """
        try:
            yield
        except UserError as error:
            placed = [self._placed(problem) for problem in error.problems]
            if placed == list(error.problems):
                raise
            raise UserError(placed) from error

    def _placed(self, problem: Problem) -> Problem:
        """The problem with its place; as it is, if it has one or its key stands neither in the file nor in options."""
        told = None if problem.key else _BEGINS_WITH_KEY.match(problem.rule)  # from a worker it comes as text
        key = told[0] if told else problem.key
        if problem.source is not None or key is None:
            return problem
        path: Path = tuple(key.split("."))
        knob = path[1:] if path[0] == "train" else path
        known = {found[:2] for found in (*self._lines, *self._overridden)}
        candidates = (path, ("train", *knob), ("search_space", *knob))
        full = next((each for each in candidates if each[:2] in known), path)
        if full[:2] not in known and full[0] != "data":
            return problem
        source, line = self.place(full)
        if told:
            return replace(problem, rule=dotted(full) + problem.rule[told.end() :], source=source, line=line)
        return replace(problem, source=source, key=dotted(full), line=line)


def dotted(path: Path) -> str:
    """`search_space.lr.choices[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if part.isprintable() else repr(part)
            text += f".{shown}" if text else shown
    return text
