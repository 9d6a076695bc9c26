"""Why the service does not do what somebody asks for. The messages are sentences for people."""

from cifar_tune.errors import CheckError, CifarTuneError


class RefusedError(CifarTuneError):
    """The service does not do that, and nothing has changed."""


class NotAllowedError(RefusedError):
    """Whoever asks has no right to this."""


class UnknownStudyError(RefusedError):
    """There is no such study."""

    exit_code = 2


class NameTakenError(RefusedError):
    """The name belongs to another study; the message says whose it is."""

    exit_code = 2


class ConflictError(RefusedError):
    """The study is in a state in which that cannot be done."""


class QuotaError(RefusedError):
    """The owner has used up what the administrator allows."""


class BusyError(CifarTuneError):
    """The service has too much to do for this at the moment, and nothing has changed."""


class AwayError(CheckError):
    """Whoever is asked does not answer, or not now; the same can be asked again later."""
