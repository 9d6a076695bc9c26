"""Browsers that have logged in: a session is a random secret in a cookie, and the token that it was opened with here.

Nothing of the token is in the cookie. A session ends at its hour, when the token is revoked or expires, or by logging
out.
"""

import secrets
import time

from sqlalchemy import Engine, delete, insert, select

from cifar_tune.service.audit import note
from cifar_tune.service.people import Actor, digest, read_token
from cifar_tune.service.tables import SESSIONS

_BYTES = 32


def open_session(engine: Engine, actor: Actor, seconds: float) -> str:
    """Begin a session of somebody who has shown a token; returns its secret, which is stored nowhere."""
    secret = secrets.token_urlsafe(_BYTES)
    now = time.time()
    with engine.begin() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at < now))
        row = {"sha256": digest(secret), "token": actor.token, "created_at": now, "expires_at": now + seconds}
        connection.execute(insert(SESSIONS).values(**row))
        note(connection, actor.name, "log.in", None, "done")
    return secret


def actor_of_session(engine: Engine, secret: str) -> Actor | None:
    """Whose session it is; None if it is unknown or over, or its token opens nothing any more."""
    now = time.time()
    with engine.connect() as connection:
        query = select(SESSIONS.c.token).where(SESSIONS.c.sha256 == digest(secret), SESSIONS.c.expires_at > now)
        number = connection.execute(query).scalar_one_or_none()
        token = None if number is None else read_token(connection, number)
    if token is None or not token.is_valid(now):
        return None
    return Actor(token.owner, token.role, token.id)


def forget_session(engine: Engine, secret: str) -> None:
    """End the session that a browser had before it logged in anew, whosever it was."""
    with engine.begin() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256 == digest(secret)))


def end_session(engine: Engine, secret: str, actor: Actor) -> None:
    """Log out."""
    with engine.begin() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.sha256 == digest(secret)))
        note(connection, actor.name, "log.out", None, "done")
