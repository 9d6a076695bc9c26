"""What a knob is: a name, a type, bounds, a default, and who takes it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.class_weights import CLASS_WEIGHTS_RULE, class_weights_text
from cifar_tune.knobs.initial_weights import pinned
from cifar_tune.knobs.part import Part, Scalar, Value

NO_NAMES = "none"
"""How an empty list of names is written and stored."""

_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Kind(StrEnum):
    """The type of a knob's value."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    NAME = "name"
    NAMES = "list of names"
    TEXT = "text"
    CLASS_WEIGHTS = "class weights"
    WEIGHTS = "path of weights"


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob of a training run.

    Attributes:
        name: its one name everywhere: study files, `--set`, exports, plots and the database.
        default: used where neither a study file nor the owner's part says otherwise.
        meaning: one line for people.
        low, high: bounds, inclusive unless `low_open` or `high_open`.
        names: the valid names with what each of them is (kinds NAME, NAMES and CLASS_WEIGHTS).
        owner: the knob whose chosen part must take this one, or None where every training run takes it.
    """

    name: str
    kind: Kind
    default: Value
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    names: Mapping[str, Part] | Mapping[str, str] | None = None
    owner: str | None = None

    @property
    def rule(self) -> str:
        """What a value must be, as the end of a sentence."""
        if self.kind is Kind.NAME:
            return f"must be {enumerate_names(sorted(self.names or ()))}"
        if self.kind is Kind.NAMES:
            return f"must be a list of names out of {enumerate_names(sorted(self.names or ()), 'and')}"
        if self.kind is Kind.BOOL:
            return "must be true or false"
        if self.kind is Kind.CLASS_WEIGHTS:
            return CLASS_WEIGHTS_RULE
        if self.kind is Kind.TEXT:
            return "must be a name of 1 to 100 letters, digits, '.', '_' or '-'"
        if self.kind is Kind.WEIGHTS:
            return "must be the path of a model folder or of a safetensors file, none or timm"
        noun = "a whole number" if self.kind is Kind.INT else "a number"
        bounds = self.bounds
        return f"must be {noun} {bounds}" if bounds else f"must be {noun}"

    @property
    def bounds(self) -> str:
        """Such as `>= 0 and < 1`; empty where there are none."""
        parts = []
        if self.low > -math.inf:
            parts.append(f"{'>' if self.low_open else '>='} {_exactly(self.low)}")
        if self.high < math.inf:
            parts.append(f"{'<' if self.high_open else '<='} {_exactly(self.high)}")
        return " and ".join(parts)

    def parse(self, raw: object) -> Value:
        """Return `raw` as a value of this knob.

        Lists of names come as a list, as one name, or joined with `+`; `none` is the empty list. Class weights come as
        a name, as a mapping, or as the JSON text of one, which is what this returns for a mapping.

        Raises:
            ValueError: with the rule that `raw` breaks.
        """
        match self.kind:
            case Kind.FLOAT | Kind.INT:
                return self._parse_number(raw)
            case Kind.BOOL:
                if isinstance(raw, bool):
                    return raw
            case Kind.NAME | Kind.TEXT | Kind.CLASS_WEIGHTS | Kind.WEIGHTS:
                text = self._parse_text(raw)
                if text is not None:
                    return text
            case Kind.NAMES:
                names = _as_names(raw)
                if names is not None and all(name in (self.names or ()) for name in names):
                    if len(set(names)) < len(names):
                        raise ValueError("must not name the same thing twice")
                    return names
        raise ValueError(self.rule)

    def _parse_text(self, raw: object) -> str | None:
        if self.kind is Kind.WEIGHTS:
            return pinned(raw) if isinstance(raw, str) and raw.strip() else None
        if self.kind is Kind.TEXT:
            return raw if isinstance(raw, str) and _TEXT.fullmatch(raw) else None
        if isinstance(raw, str) and raw in (self.names or ()):
            return raw
        return class_weights_text(raw) if self.kind is Kind.CLASS_WEIGHTS else None

    def _parse_number(self, raw: object) -> int | float:
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise ValueError(self.rule)
        if not math.isfinite(raw):
            raise ValueError(self.rule.replace("a number", "a finite number"))
        if self.kind is Kind.INT and raw != int(raw):
            raise ValueError(self.rule)
        too_low = raw <= self.low if self.low_open else raw < self.low
        too_high = raw >= self.high if self.high_open else raw > self.high
        if too_low or too_high:
            raise ValueError(self.rule)
        return int(raw) if self.kind is Kind.INT else float(raw)


def stored(value: Value) -> Scalar:
    """The value as the database and Optuna hold it: a list of names joined with `+`, the empty one `none`.

    Optuna's importance evaluators cannot hash lists.
    """
    return ("+".join(value) or NO_NAMES) if isinstance(value, tuple) else value


def _exactly(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else repr(bound)


def _as_names(raw: object) -> tuple[str, ...] | None:
    if raw is None or raw == NO_NAMES:
        return ()
    if isinstance(raw, str):
        return tuple(name.strip() for name in raw.split("+"))
    if isinstance(raw, list | tuple) and all(isinstance(name, str) for name in raw):
        return tuple(raw)
    return None
