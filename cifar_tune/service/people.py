"""Who asks: people, their roles, and the tokens by which the service knows them.

A token is random, is shown once, and is stored as its SHA-256. It has 192 bits of randomness, so nobody can guess one
or find it from its hash, and no salt or slow hash is needed (as for passwords, which people choose).
"""

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from getpass import getuser
from hashlib import sha256
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name
from cifar_tune.service.audit import note
from cifar_tune.service.tables import LONGEST_NAME, TOKENS
from cifar_tune.visible import visible

Role = Literal["viewer", "editor", "admin"]
"""A viewer reads, an editor also submits and changes studies of their own, an admin does everything."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""From the least to the most powerful."""

TOKEN_PREFIX = "ct_"  # noqa: S105 (no secret: it lets people and scanners recognize one)

_RANDOM_BYTES = 24  # 32 characters


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who asks the service for something. `token` is the number of the token that was shown, if any."""

    name: str
    role: Role
    token: int | None = None

    def is_at_least(self, role: Role) -> bool:
        """Whether the role may do all that `role` may do."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it may be shown: without its secret. Times are seconds since the epoch."""

    id: int
    owner: str
    role: Role
    label: str
    created_by: str
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None

    def is_valid(self, now: float) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def local_user() -> Actor:
    """Whoever uses the command line on the database itself, and so can do everything."""
    try:
        name = getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = f"user {os.getuid()}"
    return Actor(visible(name)[:LONGEST_NAME], "admin")


def role_of(text: str, key: str = "role") -> Role:
    """Read a role.

    Raises:
        UserError: there is none of this name.
    """
    for role in ROLES:
        if text == role:
            return role
    rule = f"must be {enumerate_names(ROLES)}"
    raise UserError(Problem(rule, key, text, nearest=nearest_name(text, ROLES)))


def person_name(text: str, key: str = "owner") -> str:
    """Read the name of a person.

    Raises:
        UserError: it is empty, too long, or holds characters that nobody sees.
    """
    if text != text.strip() or not 1 <= len(text) <= LONGEST_NAME or visible(text) != text:
        raise UserError(Problem(f"must be a name of 1 to {LONGEST_NAME} visible characters", key, text))
    return text


def digest(secret: str) -> str:
    """What is stored of a token, or of a browser's session."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def create_token(
    connection: Connection, by: str, owner: str, role: Role, label: str = "", expires_at: float | None = None
) -> tuple[Token, str]:
    """Make a token. Its secret is returned here, and is stored nowhere.

    Args:
        connection: a transaction.
        by: who makes it.
        owner: who will use it.
        role: of whoever shows it.
        label: what it is for.
        expires_at: seconds since the epoch; None: it is valid until it is revoked.
    """
    secret = TOKEN_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    row = {
        "owner": owner, "role": role, "label": label, "created_by": by, "created_at": time.time(),
        "expires_at": expires_at, "used_at": None, "revoked_at": None,
    }  # fmt: skip
    connection.execute(insert(TOKENS).values(sha256=digest(secret), **row))
    made = connection.execute(select(TOKENS).where(TOKENS.c.sha256 == digest(secret))).mappings().one()
    return _token(made), secret


def first_admin(engine: Engine) -> str | None:
    """Make an administrator's token where no token has ever been made; returns its secret, None where there is one."""
    by = local_user().name
    with engine.begin() as connection:
        note(connection, by, "token.create", None, "done", {"owner": by, "role": "admin", "why": "first start"})
        # that locks the counter of events, so nobody else gets here at the same time
        if connection.execute(select(func.count()).select_from(TOKENS)).scalar_one():
            connection.rollback()
            return None
        return create_token(connection, by, by, "admin", "first start")[1]


def read_token(connection: Connection, number: int) -> Token:
    """The token of this number.

    Raises:
        NoResultFound: there is none.
    """
    return _token(connection.execute(select(TOKENS).where(TOKENS.c.id == number)).mappings().one())


def read_tokens(connection: Connection, owner: str | None = None) -> list[Token]:
    """All tokens, or those of an owner, in the order in which they were made."""
    query = select(TOKENS).order_by(TOKENS.c.id)
    query = query if owner is None else query.where(TOKENS.c.owner == owner)
    return [_token(row) for row in connection.execute(query).mappings()]


def lock_token(connection: Connection, number: int) -> None:
    """Let no other transaction that calls this go on with the token until this one ends."""
    connection.execute(update(TOKENS).where(TOKENS.c.id == number).values(id=TOKENS.c.id))


def revoke(connection: Connection, number: int) -> bool:
    """Let a token open nothing any more; returns whether it was valid until now."""
    is_it = (TOKENS.c.id == number) & TOKENS.c.revoked_at.is_(None)
    return connection.execute(update(TOKENS).where(is_it).values(revoked_at=time.time())).rowcount == 1


@dataclass(frozen=True, slots=True)
class Pass:
    """Somebody who was let in, and until when that holds unless it is taken back; seconds since the epoch, or None."""

    actor: Actor
    until: float | None


def pass_of(engine: Engine, secret: str) -> Pass | None:
    """What this token opens; None if it is unknown, revoked or has expired."""
    if not secret.startswith(TOKEN_PREFIX):
        return None
    with engine.connect() as connection:
        row = connection.execute(select(TOKENS).where(TOKENS.c.sha256 == digest(secret))).mappings().one_or_none()
    token = None if row is None else _token(row)
    if token is None or not token.is_valid(time.time()):
        return None
    return Pass(Actor(token.owner, token.role, token.id), token.expires_at)


def write_uses(engine: Engine, uses: Mapping[int, float]) -> None:
    """Write when tokens were used the last time.

    Args:
        engine: of the database.
        uses: seconds since the epoch, by the number of the token.
    """
    if not uses:
        return
    is_newer = TOKENS.c.used_at.is_(None) | (TOKENS.c.used_at < bindparam("at"))
    used = update(TOKENS).where(TOKENS.c.id == bindparam("token"), is_newer).values(used_at=bindparam("at"))
    with engine.begin() as connection:
        connection.execute(used, [{"token": token, "at": at} for token, at in sorted(uses.items())])


def _token(row: Mapping[Any, Any]) -> Token:
    return Token(**{str(name): value for name, value in row.items() if name != "sha256"})
