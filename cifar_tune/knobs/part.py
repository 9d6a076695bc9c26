"""What a registry entry looks like: the thing that it builds, by dotted path, and the knobs that it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

Scalar = bool | int | float | str
"""A value as the database and Optuna hold it: a list of names is joined there."""

Value = Scalar | tuple[str, ...]
"""The value of one knob; a tuple only for knobs that hold a list of names, such as `augment`."""


def resolve(target: str) -> Any:
    """Import and return what `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True, slots=True)
class Part:
    """One choice of a knob such as `optimizer`.

    Attributes:
        target: what it builds, as `module:name`, imported only when something is built; of a plugin, the thing itself.
        meaning: one line for people.
        arguments: for each knob that it takes, the target's argument; `betas.0` is item 0 of `betas`.
        defaults: defaults that differ from the knob's own.
        constants: further arguments, always the same.
        capturable: whether it may be part of a CUDA graph. A graph repeats what the part did on the device, with the
            same numbers from the host, and runs none of its code again. None: a built-in part may, and one of a plugin,
            whose code nobody here knows, may not.
    """

    target: str | Callable[..., Any]
    meaning: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)
    capturable: bool | None = None

    @property
    def is_capturable(self) -> bool:
        """Whether it may be part of a CUDA graph."""
        return isinstance(self.target, str) if self.capturable is None else self.capturable

    def resolve(self) -> Any:
        """Return the target, imported where it is a path."""
        return resolve(self.target) if isinstance(self.target, str) else self.target

    def arguments_from(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Keyword arguments for the target, drawn from the knobs in `values` that this part takes."""
        keywords: dict[str, Any] = dict(self.constants)
        items: dict[str, dict[int, Value]] = {}
        for knob, argument in self.arguments.items():
            name, dot, index = argument.partition(".")
            if dot:
                items.setdefault(name, {})[int(index)] = values[knob]
            else:
                keywords[name] = values[knob]
        for name, indexed in items.items():
            keywords[name] = tuple(indexed[index] for index in sorted(indexed))
        return keywords
