"""What somebody tries to do, and its event: with the change in one transaction, or alone where it is refused."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from cifar_tune.errors import CifarTuneError, UserError
from cifar_tune.service import audit
from cifar_tune.service.refusals import RefusedError
from cifar_tune.storage.rdb import is_undone_for_others

Made = TypeVar("Made")

_TRIES = 3


@dataclass
class Attempt:
    """What somebody tries to do; what becomes known of it meanwhile belongs into its event."""

    action: str
    target: str | None
    detail: dict[str, object] = field(default_factory=dict)


class Attempts:
    """Of one person.

    Args:
        engine: of the database.
        actor: who tries.
    """

    def __init__(self, engine: Engine, actor: str) -> None:
        self._engine = engine
        self._actor = actor

    @contextmanager
    def attempt(self, action: str, target: str | None, detail: Mapping[str, object]) -> Iterator[Attempt]:
        """A block whose refusal is an event."""
        attempt = Attempt(action, target, dict(detail))
        try:
            yield attempt
        except CifarTuneError as error:
            outcome: audit.Outcome = "refused" if isinstance(error, RefusedError | UserError) else "failed"
            more = {**attempt.detail, "why": str(error)}
            with self._engine.begin() as connection:
                audit.note_refusal(connection, self._actor, action, attempt.target, outcome, more)
            raise

    def commit(self, attempt: Attempt, change: Callable[[Connection], Made]) -> Made:
        """Change something and write its event, in one transaction.

        Databases let transactions wait for each other. Where several wait in a circle, the database undoes one of them,
        which is then tried again.

        Args:
            attempt: what the event tells.
            change: makes the change; called again for each try.

        Returns:
            What `change` returns.
        """
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._engine.begin() as connection:
                    made = change(connection)
                    audit.note(connection, self._actor, attempt.action, attempt.target, "done", attempt.detail)
                    return made
            except DBAPIError as error:
                if not tries_left or not is_undone_for_others(error):
                    raise
        raise AssertionError  # the last try returns or raises
