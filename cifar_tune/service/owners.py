"""What each owner may use: weights of the fair share, and quotas."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from cifar_tune.errors import Problem, UserError
from cifar_tune.service.refusals import QuotaError
from cifar_tune.service.submissions import LIVING
from cifar_tune.service.tables import OWNERS, SUBMISSIONS
from cifar_tune.wording import counted

EVERYBODY: Final = "*"
"""The limits of this owner are those of everybody who has none of their own."""

_LIMITS = ("weight", "slots", "queued", "trials")
LIGHTEST, HEAVIEST = 0.001, 1000.0
MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Owner:
    """What somebody is given. None leaves it to `*`, and there to the defaults: weight 1, and no limits.

    Attributes:
        name: of the person, or `*`.
        weight: of the fair share: with 2, twice the device seconds of somebody with 1.
        slots: most that may be used at a time.
        queued: most studies that may wait.
        trials: most trials of all studies that have not ended, together.
    """

    name: str
    weight: float | None = None
    slots: int | None = None
    queued: int | None = None
    trials: int | None = None


def limits(owner: Owner) -> dict[str, float | int | None]:
    """What is said of an owner, without the name."""
    return {key: getattr(owner, key) for key in _LIMITS}


def read_owners(connection: Connection) -> list[Owner]:
    """What is said of each owner, by name; `*` comes first."""
    rows = connection.execute(select(OWNERS).order_by(OWNERS.c.name)).mappings()
    return sorted((Owner(**row) for row in rows), key=lambda each: (each.name != EVERYBODY, each.name))


def limits_of(connection: Connection, name: str) -> Owner:
    """What holds for an owner: what is said of them, else of `*`."""
    return with_defaults(read_owners(connection), name)


def with_defaults(owners: list[Owner], name: str) -> Owner:
    """The same from what `read_owners` has returned."""
    found = {each.name: each for each in owners}
    own, rest = found.get(name, Owner(name)), found.get(EVERYBODY, Owner(EVERYBODY))

    return Owner(
        name,
        weight=next((each for each in (own.weight, rest.weight) if each is not None), 1.0),
        slots=own.slots if own.slots is not None else rest.slots,
        queued=own.queued if own.queued is not None else rest.queued,
        trials=own.trials if own.trials is not None else rest.trials,
    )


def set_limits(connection: Connection, name: str, given: Mapping[str, float | int | None]) -> None:
    """Change some of what is said of an owner. `make_row` comes first."""
    if given:
        connection.execute(update(OWNERS).where(OWNERS.c.name == name).values(**given))


def require_sound(owner: Owner) -> None:
    """Refuse limits that make no sense.

    Raises:
        UserError: with all that is wrong.
    """
    problems = []
    if owner.weight is not None and not LIGHTEST <= owner.weight <= HEAVIEST:
        problems.append(Problem(f"must be between {LIGHTEST:g} and {HEAVIEST:g}", "weight", owner.weight))
    for key in ("slots", "queued", "trials"):
        value = getattr(owner, key)
        if value is not None and not 0 <= value <= MOST:
            problems.append(Problem(f"must be a whole number from 0 to {MOST}", key, value))
    if problems:
        raise UserError(problems)


def make_row(engine: Engine, name: str) -> None:
    """See that an owner has a row, for `lock`; a transaction of its own, since two may do this at the same time."""
    with suppress(IntegrityError), engine.begin() as connection:
        if connection.execute(select(OWNERS.c.name).where(OWNERS.c.name == name)).one_or_none() is None:
            connection.execute(insert(OWNERS).values(name=name))


def lock(connection: Connection, name: str) -> None:
    """Let no other transaction change what the owner has until this one ends; `make_row` comes first."""
    connection.execute(update(OWNERS).where(OWNERS.c.name == name).values(name=name))


def require_room_in_queue(connection: Connection, name: str) -> None:
    """Refuse one more study that waits where its owner may not have more.

    Raises:
        QuotaError: saying how many there are.
    """
    most = limits_of(connection, name).queued
    of_owner = (SUBMISSIONS.c.owner == name) & (SUBMISSIONS.c.state == "queued")
    waiting = connection.execute(select(func.count()).select_from(SUBMISSIONS).where(of_owner)).scalar_one()
    if most is not None and waiting >= most:
        raise QuotaError(
            f"{name} may have {most:,} waiting studies at most, and has {waiting:,}: wait "
            f"until one begins, cancel one, or ask an admin for more"
        )


def require_room(connection: Connection, name: str, trials: int) -> None:
    """Refuse one more submission where it goes beyond what its owner may have; `lock` comes first.

    Args:
        connection: the transaction.
        name: of the owner.
        trials: the budget of the study.

    Raises:
        QuotaError: saying which limit, and what is used.
    """
    require_room_in_queue(connection, name)
    limits = limits_of(connection, name)
    all_trials = select(func.coalesce(func.sum(SUBMISSIONS.c.trials), 0))
    of_owner = (SUBMISSIONS.c.owner == name) & SUBMISSIONS.c.state.in_(LIVING)
    used = int(connection.execute(all_trials.where(of_owner)).scalar_one())
    if limits.trials is not None and used + trials > limits.trials:
        raise QuotaError(
            f"{name} may have {counted(limits.trials, 'trial')} in studies that have not ended, and has {used:,}, so "
            f"the {trials:,} of this study are too many: lower budget.trials, wait, or ask an admin for more"
        )
