"""What differs between a study file and the specification that the storage holds under its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cifar_tune.study_spec.specification import StudySpec

_MAY_CHANGE = ("name", "budget", "data.root", "data.download")
"""The budget may grow at any time; the data may lie elsewhere on another machine (their content is compared)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that differs; `None` where one side does not have it."""

    key: str
    stored: Any
    given: Any

    def __str__(self) -> str:
        if self.stored is None:
            return f"{self.key}: added {self.given!r}"
        if self.given is None:
            return f"{self.key}: removed (was {self.stored!r})"
        return f"{self.key}: {self.stored!r} -> {self.given!r}"


def differences(stored: StudySpec, given: StudySpec) -> list[Difference]:
    """The keys in which two specifications differ, of those that may not change under a running study."""
    before, after = flat(stored.plain()), flat(given.plain())
    keys = list(dict.fromkeys((*before, *after)))
    return [
        Difference(key, before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
        and not any(key == free or key.startswith(f"{free}.") for free in _MAY_CHANGE)
    ]


def flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"lr": {"low": 1}}` as `{"lr.low": 1}`."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                found |= flat(item, f"{prefix}{key}[{index}].")
        else:
            found[f"{prefix}{key}"] = value
    return found
