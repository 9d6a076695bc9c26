"""`prior` of a searched knob: a value that is known to be good, and how sure that is."""

from dataclasses import dataclass
from typing import Any, cast

from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.part import Value
from cifar_tune.study_spec.problems import Path, Problems

CONFIDENCE = Knob(
    "confidence", Kind.FLOAT, 0.5, "share of the first draws that keep to the value", low=0.0, high=1.0, low_open=True
)
_KEYS = ("value", CONFIDENCE.name)


@dataclass(frozen=True, slots=True)
class Prior:
    """What somebody holds for good before the study begins.

    Attributes:
        value: as the sampler suggests it.
        confidence: the share of the sampler's first, random draws that keep to it, in (0, 1].
    """

    value: Value
    confidence: float

    def plain(self) -> dict[str, Any]:
        """As it stands in a study file."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {"value": value, CONFIDENCE.name: self.confidence}


def read_prior(knob: Knob, raw: object, path: Path, problems: Problems) -> Prior | None:
    """Read `prior: {value: 0.05, confidence: 0.7}`; whether the value is searched at all is not judged here."""
    if raw is None:
        return None
    if not isinstance(raw, dict) or "value" not in raw:
        problems.add(path, "must be a mapping such as {value: 0.05, confidence: 0.7}", raw)
        return None
    before = problems.count
    for key in raw:
        if key not in _KEYS:
            problems.unknown_key((*path, key), _KEYS)
    value = _parsed(knob, raw["value"], (*path, "value"), problems)
    given = raw.get(CONFIDENCE.name, CONFIDENCE.default)
    confidence = _parsed(CONFIDENCE, given, (*path, CONFIDENCE.name), problems)
    if problems.count > before or value is None:
        return None
    return Prior(value, cast("float", confidence))


def _parsed(knob: Knob, raw: object, path: Path, problems: Problems) -> Value | None:
    try:
        return knob.parse(raw)
    except ValueError as error:
        problems.add(path, str(error), raw)
        return None
