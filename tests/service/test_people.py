"""Tokens: shown once, stored as a hash, with an end; and the record of events."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from cifar_tune.errors import UserError
from cifar_tune.service import audit, people
from cifar_tune.service.people import Actor, Pass, first_admin, pass_of, person_name, role_of, write_uses

from .conftest import DeskOf


def everything_stored(engine: Engine) -> str:
    """All rows of all tables of the service."""
    with engine.connect() as connection:
        tables = ("tokens", "sessions", "events", "owners", "submissions")
        return repr([connection.execute(text(f"SELECT * FROM cifar_tune_{table}")).all() for table in tables])


def test_a_token_is_stored_as_its_hash_alone(desk_of: DeskOf, engine: Engine) -> None:
    token, secret = desk_of("root", "admin").create_token("anna", "editor", "laptop")
    assert secret.startswith("ct_")
    assert len(secret) == 35
    assert (token.owner, token.role, token.label, token.created_by) == ("anna", "editor", "laptop", "root")
    assert pass_of(engine, secret) == Pass(Actor("anna", "editor", token.id), None)
    stored = everything_stored(engine)
    assert people.digest(secret) in stored
    assert secret not in stored
    assert secret.removeprefix("ct_") not in stored
    for wrong in (f"{secret}x", secret.removeprefix("ct_"), "", "ct_\ud800\0"):
        assert pass_of(engine, wrong) is None


def test_the_last_uses_of_many_tokens_are_written_together(desk_of: DeskOf, engine: Engine) -> None:
    root = desk_of("root", "admin")
    first, second, third = (root.create_token(name, "viewer")[0].id for name in ("anna", "ben", "carl"))

    def uses() -> dict[int, float | None]:
        return {each.id: each.used_at for each in root.tokens() if each.id in (first, second, third)}

    write_uses(engine, {first: 10.0, second: 20.0})
    assert uses() == {first: 10.0, second: 20.0, third: None}
    write_uses(engine, {second: 15.0, third: 15.0})  # another server has written a later use of the second
    write_uses(engine, {})
    assert uses() == {first: 10.0, second: 20.0, third: 15.0}


def test_a_token_ends_when_it_expires_or_is_revoked(
    desk_of: DeskOf, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = desk_of("root", "admin")
    _, short = root.create_token("anna", "viewer", expires_at=time.time() + 3600)
    long, secret = root.create_token("anna", "viewer")
    assert pass_of(engine, short) is not None
    after = time.time() + 3601
    monkeypatch.setattr("time.time", lambda: after)
    assert pass_of(engine, short) is None
    assert pass_of(engine, secret) is not None
    assert desk_of("anna", "viewer").revoke_token(long.id).revoked_at == after
    assert pass_of(engine, secret) is None


def test_the_first_start_makes_one_administrator(url: object, engine: Engine, desk_of: DeskOf) -> None:
    with ThreadPoolExecutor(4) as threads:
        secrets = [secret for secret in threads.map(lambda _: first_admin(engine), range(4)) if secret]
    assert len(secrets) == 1
    found = pass_of(engine, secrets[0])
    assert found is not None
    assert found.actor.role == "admin"
    assert first_admin(engine) is None
    events = desk_of("root", "admin").events()
    assert [(event.id, event.action, event.outcome) for event in events] == [(1, "token.create", "done")]


def test_names_and_roles_are_checked() -> None:
    assert person_name("Anna Müller") == "Anna Müller"
    for name in ("", " anna", "a\nb", "x" * 101, "\u202eanna"):
        with pytest.raises(UserError, match="must be a name of 1 to 100 visible characters"):
            person_name(name)
    with pytest.raises(UserError, match=r"must be viewer, editor or admin \(did you mean 'admin'\?\)"):
        role_of("Admin")


def test_secrets_are_taken_out_of_events(desk_of: DeskOf, engine: Engine) -> None:
    _, secret = desk_of("root", "admin").create_token("anna", "viewer")
    address = "postgresql://anna:hunter2@host/db?sslpassword=geheim"
    with pytest.raises(UserError):
        desk_of("anna").submit("name: x", settings=[f"budget.trials={secret} {address}"])
    with engine.begin() as connection:
        audit.note(connection, "anna", "test", None, "done", {"a": [address, {"b": secret}], "long": "x" * 5000})
    stored = everything_stored(engine)
    for word in (secret, "hunter2", "geheim", "x" * 1001):
        assert word not in stored
    assert "postgresql://anna:***@host/db" in stored


def test_events_come_in_order_without_gaps_whoever_writes_them(engine: Engine) -> None:
    def write(actor: int) -> None:
        for number in range(10):
            with engine.begin() as connection:
                audit.note(connection, f"p{actor}", "test", str(number), "done")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    with engine.connect() as connection:
        found = audit.read(connection)
        assert [event.id for event in found] == list(range(1, 41))
        assert audit.last(connection) == 40
        assert audit.read(connection, after=30, limit=5) == found[30:35]
        assert audit.read(connection, after=None, limit=5) == found[35:]
        assert [event.actor for event in audit.read(connection, target="3")].count("p2") == 1
    for actor in range(4):
        assert [event.target for event in found if event.actor == f"p{actor}"] == [str(each) for each in range(10)]
