"""Browsers that have logged in: a session is a random secret in a cookie, and the token that it was opened with here.

Nothing of the token is in the cookie. A session ends at its hour, when the token is revoked or expires, or by logging
out.
"""

import secrets
import time

from sqlalchemy import Engine, delete, insert, select

from cifar_tune.service.audit import note
from cifar_tune.service.people import Actor, Pass, digest, lock_token, read_token
from cifar_tune.service.tables import SESSIONS

MOST_EACH = 20
"""Sessions of one token at a time: whoever has it can log in again and again, and each one is a row."""

_BYTES = 32


def open_session(engine: Engine, actor: Actor, seconds: float) -> str:
    """Begin a session of somebody who has shown a token; returns its secret, which is stored nowhere.

    A token has `MOST_EACH` sessions at most: the oldest one ends.
    """
    secret = secrets.token_urlsafe(_BYTES)
    now = time.time()
    with engine.begin() as connection:
        if actor.token is not None:
            lock_token(connection, actor.token)  # another browser may log in at this instant
        connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at < now))
        of_token = select(SESSIONS.c.sha256).where(SESSIONS.c.token == actor.token)
        newest_first = connection.execute(of_token.order_by(SESSIONS.c.created_at.desc())).scalars().all()
        connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256.in_(newest_first[MOST_EACH - 1 :])))
        row = {"sha256": digest(secret), "token": actor.token, "created_at": now, "expires_at": now + seconds}
        connection.execute(insert(SESSIONS).values(**row))
        note(connection, actor.name, "log.in", None, "done")
    return secret


def pass_of_session(engine: Engine, secret: str) -> Pass | None:
    """What a session opens; None if it is unknown or over, or its token opens nothing any more."""
    now = time.time()
    with engine.connect() as connection:
        query = select(SESSIONS.c.token, SESSIONS.c.expires_at).where(
            SESSIONS.c.sha256 == digest(secret), SESSIONS.c.expires_at > now
        )
        session = connection.execute(query).one_or_none()
        token = None if session is None else read_token(connection, session.token)
    if session is None or token is None or not token.is_valid(now):
        return None
    until = session.expires_at if token.expires_at is None else min(session.expires_at, token.expires_at)
    return Pass(Actor(token.owner, token.role, token.id), until)


def forget_session(engine: Engine, secret: str) -> None:
    """End the session that a browser had before it logged in anew, whosever it was."""
    with engine.begin() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256 == digest(secret)))


def end_session(engine: Engine, secret: str, actor: Actor) -> None:
    """Log out."""
    with engine.begin() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256 == digest(secret)))
        note(connection, actor.name, "log.out", None, "done")
