"""Accounts at an identity provider, and whose they are here.

An account is known by its issuer and its subject, which the provider gives to nobody else. The name that it brings at
its first log-in stays its name here: whoever is called so at the provider later is somebody else.
"""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from cifar_tune.errors import CheckError
from cifar_tune.service.audit import note
from cifar_tune.service.owners import EVERYBODY
from cifar_tune.service.people import Actor, Role, create_token, digest
from cifar_tune.service.tables import IDENTITIES, NAMES, SUBMISSIONS, TOKENS

_RESERVED = (EVERYBODY, "server")
"""Names that stand for something else: in limits, and in events."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a provider says of somebody who has logged in there.

    Attributes:
        issuer: the provider.
        subject: the account, for ever.
        name: of the person, as the provider calls them at this moment.
        role: that the person has here.
    """

    issuer: str
    subject: str
    name: str
    role: Role


class NameOfAnotherError(CheckError):
    """Somebody else has the name that an account brings."""


def admit(engine: Engine, account: Account, seconds: float, known: Actor | None) -> Actor:
    """Whoever has this account, with a token of their own that opens nothing by itself: sessions hang on it.

    The role is that of this log-in, also in the sessions that the person has already.

    Args:
        engine: of the database.
        account: that the provider vouches for.
        seconds: until all sessions of the person end, unless they log in again.
        known: who has been using the same browser. An account may take the name of somebody who is known by a token
            where that person, with the same rights, has logged in with the same browser.

    Raises:
        NameOfAnotherError: the name is another person's.
    """
    try:
        return _admit(engine, account, seconds, known)
    except (IntegrityError, NameOfAnotherError):  # maybe by this account, admitted at this instant too
        return _admit(engine, account, seconds, known)


def _admit(engine: Engine, account: Account, seconds: float, known: Actor | None) -> Actor:
    key = digest(f"{account.issuer}\0{account.subject}")
    until = time.time() + seconds
    with engine.begin() as connection:
        row = connection.execute(select(IDENTITIES).where(IDENTITIES.c.sha256 == key)).one_or_none()
        if row is None:
            _refuse_taken(connection, account, known)
            number = _new_token(connection, account, account.name, until)
            connection.execute(
                insert(IDENTITIES).values(
                    sha256=key, owner=account.name, issuer=account.issuer, subject=account.subject, token=number,
                    since=time.time(),
                )
            )  # fmt: skip
            detail = {"issuer": account.issuer, "subject": account.subject}
            note(connection, account.name, "account.take", account.name, "done", detail)
            return Actor(account.name, account.role, number)
        is_it = (TOKENS.c.id == row.token) & TOKENS.c.revoked_at.is_(None)
        renewed = update(TOKENS).where(is_it).values(role=account.role, expires_at=until)
        number = row.token
        before = connection.execute(select(TOKENS.c.role).where(is_it)).scalar()
        if connection.execute(renewed).rowcount == 0:  # an admin has revoked it, which has ended all sessions
            number = _new_token(connection, account, row.owner, until)
            connection.execute(update(IDENTITIES).where(IDENTITIES.c.sha256 == key).values(token=number))
        elif before != account.role:  # servers remember who may do what until the next event
            told = {"role": account.role, "before": before}
            note(connection, row.owner, "account.role", row.owner, "done", told)
        return Actor(row.owner, account.role, number)


def _new_token(connection: Connection, account: Account, owner: str, until: float) -> int:
    """The number of a token whose secret nobody gets to know."""
    return create_token(connection, owner, owner, account.role, "sessions of an OpenID Connect account", until)[0].id


def _refuse_taken(connection: Connection, account: Account, known: Actor | None) -> None:
    name = account.name
    if name in _RESERVED:
        raise NameOfAnotherError(f"nobody can be called {name} here")
    owned = (TOKENS.c.owner == name, NAMES.c.owner == name, SUBMISSIONS.c.owner == name)
    is_taken = any(connection.execute(select(exists().where(each))).scalar_one() for each in owned)
    # after the tokens: one that an account has just got is never seen without the account
    if connection.execute(select(exists().where(IDENTITIES.c.owner == name))).scalar_one():
        raise NameOfAnotherError(f"the name {name} belongs to another account here")
    is_same = known is not None and known.name == name and known.is_at_least(account.role)
    if is_taken and not is_same:
        raise NameOfAnotherError(
            f"there is a person called {name} here already. If that is you, log in with your token first (one with "
            f"the role {account.role}, or more), then log in this way again with the same browser"
        )
