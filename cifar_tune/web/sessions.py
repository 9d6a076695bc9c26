"""Browsers that have logged in: a session is a random secret in a cookie, and the token that it was opened with here.

Nothing of the token is in the cookie. Whoever logs in with an account of an identity provider has a token too, which
nobody knows (`cifar_tune.service.identities`). A session ends at its hour, when the token is revoked or expires, or by
logging out.
"""

import secrets
import time
from collections.abc import Mapping

from sqlalchemy import Connection, Engine, delete, insert, select

from cifar_tune.service.audit import note
from cifar_tune.service.people import Actor, Pass, digest, lock_token, read_token
from cifar_tune.service.tables import SESSIONS

MOST_EACH = 20
"""Sessions of one token at a time: whoever has it can log in again and again, and each one is a row."""

_BYTES = 32


def open_session(
    engine: Engine,
    actor: Actor,
    seconds: float,
    before: str | None = None,
    told: Mapping[str, object] | None = None,
) -> str:
    """Begin a session of somebody who has shown a token; returns its secret, which is stored nowhere.

    A token has `MOST_EACH` sessions at most: the oldest one ends, and the event of the new one says so.

    Args:
        engine: of the database.
        actor: who has shown a token.
        seconds: until it ends by itself.
        before: the secret of the session that the same browser has, which ends; it may be another person's.
        told: more about the log-in, for its event.
    """
    secret = secrets.token_urlsafe(_BYTES)
    now = time.time()
    with engine.begin() as connection:
        if actor.token is not None:
            lock_token(connection, actor.token)  # another browser may log in at this instant
        connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at < now))
        replaced = None if before is None else _ended_session(connection, before)
        of_token = select(SESSIONS.c.sha256).where(SESSIONS.c.token == actor.token)
        newest_first = connection.execute(of_token.order_by(SESSIONS.c.created_at.desc())).scalars().all()
        too_many = newest_first[MOST_EACH - 1 :]
        connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256.in_(too_many)))
        row = {"sha256": digest(secret), "token": actor.token, "created_at": now, "expires_at": now + seconds}
        connection.execute(insert(SESSIONS).values(**row))
        if replaced is not None:
            why = {"why": f"{actor.name} has logged in with this browser"}
            note(connection, replaced, "log.out", None, "done", why)
        ended = {"ended_sessions": len(too_many)} if too_many else {}
        note(connection, actor.name, "log.in", None, "done", {**(told or {}), **ended})
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


def _ended_session(connection: Connection, secret: str) -> str | None:
    """End a session; returns whose it was, None if there is none."""
    is_it = SESSIONS.c.sha256 == digest(secret)
    token = connection.execute(select(SESSIONS.c.token).where(is_it)).scalar()
    connection.execute(delete(SESSIONS).where(is_it))
    return None if token is None else read_token(connection, token).owner


def end_session(engine: Engine, secret: str, actor: Actor) -> None:
    """Log out."""
    with engine.begin() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256 == digest(secret)))
        note(connection, actor.name, "log.out", None, "done")
