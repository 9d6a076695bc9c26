"""What `--workers auto` found out on a machine is kept, so that the same study is not tried out there again.

The files lie in the cache folder and only save time: one that cannot be read is as good as none.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from joblib import cpu_count
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cifar_tune.data.cache import cache_folder
from cifar_tune.errors import UserError
from cifar_tune.executors.messages import Rehearsal
from cifar_tune.files import read_regular, replace_file

_MOST_BYTES = 1 << 16
_FORMAT = 1
"""Raise it when executors come to share a GPU in another way, so that older decisions are forgotten."""


_FILES = "workers-*.json"


class Decision(BaseModel):
    """How many executors shared each GPU, what a trial of the largest model takes, and when that was found out.

    Attributes:
        each: executors per GPU.
        peak_bytes: what torch holds for the study's largest configuration.
        found: the day, in ISO form.
        words: the figures, for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    each: int = Field(ge=1)
    peak_bytes: int = Field(ge=0)
    found: str
    words: str


def made_today(each: int, peak_bytes: int, words: str) -> Decision:
    """A decision of now."""
    return Decision(each=each, peak_bytes=peak_bytes, found=datetime.now().astimezone().date().isoformat(), words=words)


def decision_file(rehearsal: Rehearsal, environment: Mapping[str, str | int], gpus: int) -> Path | None:
    """Where the decision is kept: it belongs to what is rehearsed, these GPUs, and this machine's cores and libraries.

    None where the name of the cache folder stands for nothing.
    """
    facts = {
        "format": _FORMAT,
        "typical": dict(rehearsal.typical),
        "largest": [dict(each) for each in rehearsal.largest],
        "data": rehearsal.data.model_dump(),
        "plugins": [plugin.identity for plugin in rehearsal.plugins],
        "most": rehearsal.most,
        # Which of several equal GPUs an executor has does not matter.
        "environment": {name: fact for name, fact in environment.items() if name != "device"},
        "gpus": gpus,
        "cores": int(cpu_count()),
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    try:
        return cache_folder() / _FILES.replace("*", digest[:24])
    except UserError:
        return None


def remembered(path: Path | None) -> Decision | None:
    """The decision in a file; None where there is none that can be read."""
    if path is None:
        return None
    with suppress(OSError, ValidationError):
        return Decision.model_validate_json(read_regular(path, _MOST_BYTES))
    return None


def remembered_all(folder: Path) -> list[Decision]:
    """All decisions that this machine has kept."""
    found = (remembered(path) for path in sorted(folder.glob(_FILES)))
    return [decision for decision in found if decision is not None]


def remember(path: Path | None, decision: Decision) -> None:
    """Keep a decision; where it cannot be written, the next run finds it out again."""
    if path is None:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, decision.model_dump_json())
