"""`transfer_from`: an earlier study whose best configurations a study tries first, before its sampler draws any.

This file reads the section; `study_spec.transferring` turns configurations into those of the new search space, and
`study.transfer` looks the earlier study up.
"""

import re
from dataclasses import dataclass
from typing import Any, cast

from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.study_spec.problems import Path, Problems
from cifar_tune.study_spec.search_space import read_value

CONFIGURATIONS = Knob("configurations", Kind.INT, 5, "how many of its best configurations, at most", low=1, high=20)

_PATH: Path = ("transfer_from",)
_KEYS = ("study", "storage", CONFIGURATIONS.name)
_EXAMPLE = "the name of a study, or {study: resnet18-small, configurations: 5}"
_HAS_PASSWORD = re.compile(r"://[^/?#]*:[^/?#]*@|[?&][^=&]*pass[^=&]*=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TransferSpec:
    """Which study is asked for how many configurations.

    Attributes:
        study: its name.
        storage: the URL of the storage that holds it; None for that of the new study.
        configurations: at most this many.
    """

    study: str
    storage: str | None = None
    configurations: int = cast("int", CONFIGURATIONS.default)

    def plain(self) -> dict[str, Any]:
        """As it stands in a study file."""
        storage = {} if self.storage is None else {"storage": self.storage}
        return {"study": self.study, **storage, CONFIGURATIONS.name: self.configurations}

    def asks_the_same(self, other: "TransferSpec") -> bool:
        """Whether it asks for as many configurations of a study of the same name, wherever that is stored."""
        return (self.study, self.configurations) == (other.study, other.configurations)


def read_transfer(raw: object, name: object, problems: Problems) -> TransferSpec | None:
    """Read `transfer_from`; None where it is missing, and where it cannot be used.

    Args:
        raw: what stands there.
        name: of the new study.
        problems: receives what is wrong.
    """
    if raw is None:
        return None
    before = problems.count
    if isinstance(raw, str):
        raw = {"study": raw}
    if not isinstance(raw, dict):
        problems.add(_PATH, f"must be {_EXAMPLE}", raw)
        return None
    for key in raw:
        if key not in _KEYS:
            problems.unknown_key((*_PATH, key), _KEYS)
    _judge(raw.get("study"), raw.get("storage"), name, problems)
    count = read_value(
        CONFIGURATIONS, raw.get(CONFIGURATIONS.name, CONFIGURATIONS.default), (*_PATH, CONFIGURATIONS.name), problems
    )
    if problems.count > before:
        return None
    return TransferSpec(raw["study"], raw.get("storage"), cast("int", count))


def _judge(study: object, storage: object, name: object, problems: Problems) -> None:
    if study is None:
        problems.add(_PATH, f"does not say which study; it must be {_EXAMPLE}")
    elif not isinstance(study, str) or not study.strip():
        problems.add((*_PATH, "study"), "must be the name of a study; a number needs quotes", study)
    elif study.endswith((".yaml", ".yml")):
        rule = "must be the name of a study in the storage, which `cifar-tune status` lists, not the file of one"
        problems.add((*_PATH, "study"), rule, study)
    elif study == name and storage is None:
        problems.add((*_PATH, "study"), "is this study itself; name an earlier one", study)
    if storage is not None and not isinstance(storage, str):
        problems.add(
            (*_PATH, "storage"), "must be the URL of a storage, such as sqlite:///storage/cifar_tune.db", storage
        )
    elif storage is not None and _HAS_PASSWORD.search(storage):
        rule = "holds a password, and study files are stored and passed on; leave it out of the URL, and set PGPASSWORD"
        problems.add((*_PATH, "storage"), rule)
