"""What may be changed through optuna-dashboard, and by whom. What is not in the table here is refused.

The dashboard takes the numbers in an address as they come: it would write the note of one study into another one, and
delete any uploaded file. So each number is looked up, and must belong to the study whose owner asks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cifar_tune.optuna_internals import ARTIFACT
from cifar_tune.optuna_questions import study_of_trial
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import rights
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import ConflictError, NameTakenError, UnknownStudyError
from cifar_tune.storage import attributes
from cifar_tune.web.listing import owner_of

_STUDY = r"(?P<study>\d{1,10})"
_TRIAL = r"(?P<trial>\d{1,10})"
_FILE = r"(?P<file>[0-9a-fA-F-]+)"
_HIGHEST = 2**31 - 1
_NAME = "study_name"
"""The key of the body under which the name of a study stands."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that the dashboard can change.

    Attributes:
        method: of the request.
        path: of the request, without slashes at its end.
        words: for messages: what is done to the study.
        is_of_search: it changes trials and what they have found. Of our studies, only training does that.
        names: it gives a study its name.
        deletes: it deletes the study.
    """

    method: str
    path: re.Pattern[str]
    words: str
    is_of_search: bool = False
    names: bool = False
    deletes: bool = False


def _kind(method: str, path: str, words: str, **more: bool) -> Kind:
    return Kind(method, re.compile(path, re.ASCII), words, **more)


KINDS = (
    _kind("POST", "/api/studies", "make a study by hand", names=True),
    _kind("DELETE", f"/api/studies/{_STUDY}", "delete the study", deletes=True),
    _kind("POST", f"/api/studies/{_STUDY}/rename", "rename the study", names=True),
    _kind("PUT", f"/api/studies/{_STUDY}/note", "write the note of the study"),
    _kind("PUT", f"/api/studies/{_STUDY}/{_TRIAL}/note", "write notes of the study"),
    _kind("POST", f"/api/artifacts/{_STUDY}", "add a file to the study"),
    _kind("POST", f"/api/artifacts/{_STUDY}/{_TRIAL}", "add a file to the study"),
    _kind("DELETE", f"/api/artifacts/{_STUDY}/{_FILE}", "delete a file of the study"),
    _kind("DELETE", f"/api/artifacts/{_STUDY}/{_TRIAL}/{_FILE}", "delete a file of the study"),
    _kind("POST", f"/api/trials/{_TRIAL}/tell", "end a trial of the study", is_of_search=True),
    _kind("POST", f"/api/trials/{_TRIAL}/user-attrs", "change a trial of the study", is_of_search=True),
    _kind("POST", f"/api/studies/{_STUDY}/{_TRIAL}/skip", "skip a trial of the study", is_of_search=True),
    _kind("POST", f"/api/studies/{_STUDY}/preference", "judge trials of the study", is_of_search=True),
    _kind("PUT", f"/api/studies/{_STUDY}/preference_feedback_component", "change the study", is_of_search=True),
    _kind("POST", f"/api/studies/{_STUDY}/preference/[^/]+", "judge trials of the study", is_of_search=True),
    _kind("DELETE", f"/api/studies/{_STUDY}/preference/[^/]+", "judge trials of the study", is_of_search=True),
)
"""All that there is."""


@dataclass
class Wanted:
    """A change that somebody asks for: its kind, the study that it is about (None: a new one), and what is named."""

    kind: Kind
    study: str | None
    named: Mapping[str, str]


def is_beyond(path: str) -> bool:
    """Whether a number in the path is higher than any that a study or a trial can have."""
    numbers = [part.lstrip("-") for part in path.split("/") if re.fullmatch(r"-*\d+", part)]
    return any(len(number) > len(str(_HIGHEST)) or int(number) > _HIGHEST for number in numbers)


def wanted_change(storage: BatchStorage, method: str, path: str) -> Wanted:
    """What a request would change.

    Raises:
        UnknownStudyError: nothing that there is.
    """
    for kind in KINDS:
        found = kind.path.fullmatch(path.rstrip("/"))
        if found is not None and kind.method == method:
            return Wanted(kind, _study_of(storage, found.groupdict()), found.groupdict())
    raise UnknownStudyError("nothing can be changed there")


def require_change(storage: BatchStorage, actor: Actor, wanted: Wanted, body: Mapping[str, Any]) -> None:
    """See that somebody may change this.

    Args:
        storage: that holds the study.
        actor: who asks.
        wanted: what `wanted_change` has found.
        body: of the request.

    Raises:
        RefusedError: they may not, or nobody may.
    """
    kind, study = wanted.kind, wanted.study
    if study is None:
        rights.require(actor, "submit", None, kind.words)
    else:
        owner = owner_of(storage.engine, study)
        rights.require(actor, "delete", owner, f"{kind.words} {study!r}")
        if kind.is_of_search and _is_ours(storage, study):
            raise ConflictError(f"cifar-tune has made the study {study!r}: its trials are changed by training alone")
        if kind.names and owner is not None:
            raise ConflictError(f"the study {study!r} was submitted, so its name stays")
        _require_file(storage, wanted.named)
    if kind.names:
        name = str(body.get(_NAME))
        whose = owner_of(storage.engine, name)
        if whose is not None:
            raise NameTakenError(f"the name {name!r} is taken: that study belongs to {whose}")


def _study_of(storage: BatchStorage, given: Mapping[str, str]) -> str | None:
    """The name of the study with the number in an address.

    Raises:
        UnknownStudyError: there is none, or the trial is none of its trials.
    """
    study = int(given["study"]) if "study" in given else None
    if "trial" in given:
        its_study = study_of_trial(storage.engine, int(given["trial"]))
        if its_study is None or study not in (None, its_study):
            raise UnknownStudyError("there is no such trial in that study")
        study = its_study
    if study is None:
        return None
    try:
        return storage.get_study_name_from_id(study)
    except KeyError:
        raise UnknownStudyError("there is no such study") from None


def _is_ours(storage: BatchStorage, study: str) -> bool:
    return attributes.SPEC in storage.get_study_user_attrs(storage.get_study_id_from_name(study))


def _require_file(storage: BatchStorage, named: Mapping[str, str]) -> None:
    """See that a file belongs to what the address names: the dashboard itself does not look.

    Raises:
        UnknownStudyError: it does not.
    """
    if "file" not in named:
        return
    file, study = named["file"], int(named["study"])
    known = set(storage.get_study_system_attrs(study))
    if "trial" in named:
        trial = named["trial"]
        known = {key for key in known if key.startswith(f"dashboard:{ARTIFACT}{int(trial)}:")}
        known |= set(storage.get_trial_system_attrs(int(trial)))
        wanted = {f"{ARTIFACT}{file}", f"dashboard:{ARTIFACT}{int(trial)}:{file}"}
    else:
        wanted = {f"{ARTIFACT}{file}"}
    if not known & wanted:
        raise UnknownStudyError("there is no such file in that study")
