"""Collects everything that is wrong with a file, so that all of it is reported at once."""

from collections.abc import Iterable, Mapping

from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name

Path = tuple[str | int, ...]
"""The keys and positions that lead to a value."""


ALIASES = {
    "learning_rate": "lr",
    "learningrate": "lr",
    "wd": "weight_decay",
    "l2": "weight_decay",
    "bs": "batch_size",
    "batchsize": "batch_size",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "augmentation": "augment",
    "scheduler": "schedule",
    "opt": "optimizer",
    "arch": "model",
    "min": "low",
    "max": "high",
    "values": "choices",
    "n_trials": "trials",
}
"""What other tools call the same knob or section."""

ALIASES_OF_NAMES = {"swish": "silu", "lrelu": "leaky_relu", "reduce_on_plateau": "plateau"}
"""What other tools call the same part."""


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

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def count(self) -> int:
        """How many were found so far."""
        return len(self._found)

    def add(self, path: Path, rule: str, value: object = None, nearest: str | None = None) -> None:
        """Record one problem at `path`."""
        source, line = self._place(path)
        self._found.append(Problem(rule, dotted(path) or None, value, source, line, nearest))

    def add_at_line(self, line: int | None, rule: str) -> None:
        """Record a problem of the file as a whole, or of its syntax."""
        self._found.append(Problem(rule, source=self._source, line=line))

    def include(self, problems: Iterable[Problem]) -> None:
        """Record the problems of another file, which this one names."""
        self._found.extend(problems)

    def unknown_key(self, path: Path, names: Iterable[str]) -> None:
        """Record that the last key of `path` is none of `names`."""
        names = list(names)
        meant = ALIASES.get(str(path[-1]))
        nearest = meant if meant in names else nearest_name(str(path[-1]), names)
        rule = "unknown key" if nearest else f"unknown key; known here: {', '.join(names)}"
        self.add(path, rule, nearest=nearest)

    def add_name(self, path: Path, value: object, names: Iterable[str]) -> None:
        """Record that `value` is none of `names`."""
        names = sorted(names)
        meant = ALIASES_OF_NAMES.get(value) if isinstance(value, str) else None
        nearest = meant if meant in names else nearest_name(value, names) if isinstance(value, str) else None
        self.add(path, f"must be {enumerate_names(names)}", value, nearest)

    def raise_if_any(self) -> None:
        """Raise `UserError` with all problems found, in the order of their lines."""
        if self._found:
            raise UserError(sorted(self._found, key=lambda problem: problem.line or 0))

    def _place(self, path: Path) -> tuple[str | None, int | None]:
        prefixes = [path[:end] for end in range(len(path), 0, -1)]
        for prefix in prefixes:
            if prefix in self._overridden:
                return self._overridden[prefix], None
        if path not in self._lines:
            for overridden, option in self._overridden.items():
                if overridden[: len(path)] == path:
                    return option, None
        return self._source, next((self._lines[prefix] for prefix in prefixes if prefix in self._lines), None)


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
