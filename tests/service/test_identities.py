"""Accounts at an identity provider, and whose they are here."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select

from cifar_tune.service import identities
from cifar_tune.service.identities import Account, NameOfAnotherError, admit
from cifar_tune.service.owners import Owner
from cifar_tune.service.people import Actor, create_token, read_token, revoke
from cifar_tune.service.tables import IDENTITIES, NAMES, TOKENS

from .conftest import STUDY, DeskOf

ISSUER = "https://login.example.org"


def account(subject: str = "1", name: str = "ada", issuer: str = ISSUER) -> Account:
    return Account(issuer, subject, name, "editor")


def test_an_account_is_its_issuer_and_its_subject(engine: Engine) -> None:
    first = admit(engine, account(), 60, None)
    assert first == Actor("ada", "editor", first.token)
    assert admit(engine, account(name="renamed"), 60, None) == first
    for other in (account("2"), account(issuer="https://other.example.org")):
        with pytest.raises(NameOfAnotherError, match="the name ada belongs to another account here"):
            admit(engine, other, 60, None)
    assert admit(engine, account(issuer="https://other.example.org", name="ben"), 60, None).name == "ben"


def test_the_names_of_everybody_who_has_something_are_taken(engine: Engine, desk_of: DeskOf) -> None:
    desk_of("submitter").submit(STUDY)
    with engine.begin() as connection:
        create_token(connection, "root", "holder", "editor")
        connection.execute(insert(NAMES).values(study="of-namer", owner="namer", since=0.0))
    desk_of("root", "admin").set_owner(Owner("planned", weight=2.0))
    for name in ("submitter", "holder", "namer"):
        with pytest.raises(NameOfAnotherError, match=f"there is a person called {name} here already"):
            admit(engine, account(name, name), 60, Actor("other", "admin"))
        assert admit(engine, account(name, name), 60, Actor(name, "editor")).name == name
    assert admit(engine, account("planned", "planned"), 60, None).name == "planned", "limits may be set before"


def test_a_token_that_may_less_shows_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        create_token(connection, "root", "ada", "viewer")
    with pytest.raises(NameOfAnotherError, match="one with the role editor, or more"):
        admit(engine, account(), 60, Actor("ada", "viewer"))


def test_the_token_of_an_account_ends_is_renewed_and_can_be_revoked(engine: Engine) -> None:
    first = admit(engine, account(), 60, None)
    assert first.token is not None
    with engine.begin() as connection:
        before = read_token(connection, first.token)
    assert before.expires_at is not None
    assert admit(engine, account(), 3600, None).token == first.token
    with engine.begin() as connection:
        after = read_token(connection, first.token)
        assert after.expires_at is not None
        assert after.expires_at > before.expires_at + 3000
        assert revoke(connection, first.token)
    second = admit(engine, account(), 60, None)
    assert second.token != first.token
    assert admit(engine, account(), 60, None) == second


@pytest.mark.parametrize("same", [True, False], ids=["one account", "several accounts"])
def test_first_log_ins_at_the_same_time(engine: Engine, same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 4
    together = Barrier(count)
    first: Callable[..., Actor] = identities._admit

    def all_at_once(*given: object) -> Actor:
        together.wait() if next(waits, None) is not None else None
        return first(*given)

    waits = iter(range(count))
    monkeypatch.setattr(identities, "_admit", all_at_once)

    def one(number: int) -> str:
        try:
            return admit(engine, account("1" if same else str(number)), 60, None).name
        except NameOfAnotherError as error:
            return str(error)

    with ThreadPoolExecutor(count) as threads:
        said = sorted(threads.map(one, range(count)))
    refused = "the name ada belongs to another account here"
    assert said == (["ada"] * count if same else ["ada", *[refused] * (count - 1)])
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(IDENTITIES)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(TOKENS)).scalar_one() == 1


def test_who_is_admitted_elsewhere_between_two_looks_is_not_somebody_else(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = iter([account()])
    refuse: Callable[..., None] = identities._refuse_taken

    def first_elsewhere(*given: Any) -> None:
        if other := next(elsewhere, None):
            admit(engine, other, 60, None)
        refuse(*given)

    monkeypatch.setattr(identities, "_refuse_taken", first_elsewhere)
    assert admit(engine, account(), 60, None).name == "ada"
    elsewhere = iter([account("3", "ben")])
    with pytest.raises(NameOfAnotherError, match="the name ben belongs to another account here"):
        admit(engine, account("4", "ben"), 60, None)
