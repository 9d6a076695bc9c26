"""Everything that people can ask of the service, in one interface.

`storage_desk.StorageDesk` answers from the database, and `cifar_tune.client` asks a server over HTTP.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from cifar_tune.service.audit import Event
from cifar_tune.service.owners import Owner
from cifar_tune.service.people import Role, Token
from cifar_tune.service.submissions import State, Submission
from cifar_tune.study.removing import Removed


@dataclass(frozen=True, slots=True)
class Stopped:
    """What came of asking a study to stop.

    Attributes:
        study: its name.
        asked: the processes that were asked to park, such as `process 12 on lab1`; it takes them an epoch at most.
        is_paused: whether it is submitted, and now waits until somebody resumes it.
    """

    study: str
    asked: tuple[str, ...]
    is_paused: bool


class Desk(Protocol):
    """What people can ask for. What is not done raises a `RefusedError` with a sentence for people."""

    def submit(
        self,
        text: str,
        name_of_file: str = "study.yaml",
        settings: Sequence[str] = (),
        priority: int = 0,
        workers: int | None = None,
        notify: Sequence[str] = (),
        folder: str | None = None,
    ) -> Submission:
        """Queue a study: the text of its file, and `--set` as `key=value`.

        `notify` adds to the addresses that the file names. The submission's text is without them.

        `folder` is where relative paths in it begin, of somebody who submits on the server's own machine. Over HTTP
        there is none: paths begin in the server's folder.

        Raises:
            UserError: with all that is wrong with the file.
            NameTakenError: the name is that of another study, or this one has not ended.
            QuotaError: its owner may not have more.
        """

    def queue(self) -> list[Submission]:
        """All submissions that have not ended, in order: running ones, waiting ones by position, paused ones.

        Their texts are empty: `submission` has that of one.
        """

    def submissions(
        self,
        states: Collection[State] | None = None,
        owner: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[Submission]:
        """Submissions in these states, of this owner, with a number below `before`, the newest first.

        Their texts are empty: `submission` has that of one.
        """

    def submission(self, study: str) -> Submission:
        """The newest submission of a study.

        Raises:
            UnknownStudyError: nobody has submitted one of this name.
        """

    def pause(self, study: str) -> Submission:
        """Pause a study until somebody resumes it; running trials are parked."""

    def resume(self, study: str) -> Submission:
        """Queue a paused study again."""

    def cancel(self, study: str) -> Submission:
        """End a study; running trials are parked, and its results stay."""

    def set_priority(self, study: str, priority: int) -> Submission:
        """Set the priority: a study with a higher one runs sooner."""

    def set_workers(self, study: str, workers: int | None) -> Submission:
        """Set how many slots it may use at most; None for as many as there are."""

    def stop(self, study: str) -> Stopped:
        """Ask whoever runs a study to park it, also `cifar-tune run`; a submitted one is paused."""

    def delete(self, study: str) -> Removed:
        """Remove a study that has ended, its trials and its checkpoints, for good; its name is free afterwards."""

    def events(self, after: int | None = 0, limit: int | None = None) -> list[Event]:
        """What has happened since the event with the number `after`, in order; None: the newest ones."""

    def tokens(self) -> list[Token]:
        """The tokens: all for an administrator, otherwise your own."""

    def create_token(
        self, owner: str, role: Role, label: str = "", expires_at: float | None = None
    ) -> tuple[Token, str]:
        """Make a token; the text is its secret, which nobody can read again."""

    def revoke_token(self, number: int) -> Token:
        """Revoke a token: from now on it opens nothing."""

    def owners(self) -> list[Owner]:
        """What people may use; `*` stands for everybody else."""

    def set_owner(self, owner: Owner, resets: bool = False) -> Owner:
        """Set what an owner may use. None changes nothing, or, with `resets`, means: as for `*`.

        Returns:
            What holds for them now.
        """
