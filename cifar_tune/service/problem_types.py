"""The kinds of errors that a server and its client both know, by the names that they have over HTTP."""

from collections.abc import Mapping
from typing import Final

from cifar_tune.errors import CheckError, CifarTuneError
from cifar_tune.service.refusals import (
    ConflictError,
    NameTakenError,
    NotAllowedError,
    QuotaError,
    RefusedError,
    UnknownStudyError,
)

PREFIX: Final = "urn:cifar-tune:"
"""Before the name of a kind, in the `type` of a problem (RFC 9457)."""

KINDS: Final[Mapping[str, type[CifarTuneError]]] = {
    "not-allowed": NotAllowedError,
    "unknown-study": UnknownStudyError,
    "name-taken": NameTakenError,
    "conflict": ConflictError,
    "quota": QuotaError,
    "refused": RefusedError,
    "check": CheckError,
}
"""Of an error, the first that fits counts. `UserError` has no name: it is told by its problems."""


def type_of(error: BaseException) -> str:
    """The `type` of the problem that tells of this error."""
    return next((f"{PREFIX}{name}" for name, kind in KINDS.items() if isinstance(error, kind)), "about:blank")


def error_of(problem_type: str, message: str) -> CifarTuneError | None:
    """The error that a problem of this `type` tells of; None if it is of no kind that is known here."""
    kind = KINDS.get(problem_type.removeprefix(PREFIX)) if problem_type.startswith(PREFIX) else None
    return None if kind is None else kind(message)
