"""Asks the runs of a study to park, on whichever machine they are, and waits until they have."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.lease import Held, Owner, held_lease
from cifar_tune.storage.linked import linked_to
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.storage.wishes import ask_to_park

_LOOK_SECONDS = 0.2
_LONG_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Parked:
    """A run that does not hold its study any more.

    Attributes:
        study: the study, or one of those that `finalize` makes for it.
        owner: the process that ran it.
        has_answered: whether it has released the study; otherwise it died, and its lease ended.
    """

    study: str
    owner: Owner
    has_answered: bool


def park(storage: BatchStorage, name: str, by: str, say: Callable[[str], None]) -> Iterator[Parked]:
    """Ask whoever runs a study to park it, and wait for that; the same for what `finalize` runs for the study.

    Args:
        storage: of the study.
        name: the study's.
        by: who asks, for people.
        say: is given a sentence on what is waited for.

    Yields:
        Each run, once it has ended. There is none where nobody runs the study.

    Raises:
        SQLAlchemyError: the database cannot be used.
    """
    asked = {each: ask_to_park(storage.engine, each, by) for each in (name, *linked_to(name, study_names(storage)))}
    # those of finalize first: it holds the study itself until they have ended
    for each, held in reversed(asked.items()):
        if held is not None:
            say(f"waiting until {held.owner} has parked {each}")
            yield Parked(each, held.owner, _wait(storage.engine, each, held, by, say))


def _wait(engine: Engine, study: str, asked: Held, by: str, say: Callable[[str], None]) -> bool:
    """Wait until this run has ended; returns whether it has released the study itself."""
    token, since, is_long = asked.token, time.monotonic(), False
    while True:
        held = held_lease(engine, study)
        if held is None or held.owner != asked.owner:
            return True
        if held.is_free:
            return False
        if held.token != token:  # it takes the lease again before it trains, and has not seen the wish
            token = held.token
            ask_to_park(engine, study, by)
        if not is_long and time.monotonic() - since > _LONG_SECONDS:
            is_long = True
            say(
                f"{asked.owner} has not answered for a minute: the machine or the database may be slow, or the run is "
                "of a version of cifar-tune that hears no such request; Ctrl-C ends this waiting"
            )
        time.sleep(_LOOK_SECONDS)
