"""A server that is not there yet is waited for; one that refuses is not."""

import pytest
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from cifar_tune.errors import CheckError
from cifar_tune.storage import patience
from cifar_tune.storage.patience import at_first, open_patiently
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url

REFUSED = "postgresql://h/d cannot be used: connection failed: Connection refused"


def nothing() -> None:
    pass


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What opening says, one after the other; then it succeeds."""
    errors: list[str] = []

    def opened(url: URL, is_durable: bool) -> RDBStorage:
        if errors:
            raise CheckError(errors.pop(0))
        return open_storage(url, is_durable)

    monkeypatch.setattr(patience, "open_storage", opened)
    monkeypatch.setattr(patience, "_LOOK_SECONDS", 0.01)
    return errors


def test_it_is_waited_for(tries: list[str], database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_SECONDS", 0.1)
    tries += [REFUSED, "x cannot be used: FATAL: the database system is starting up"]
    tries += ["x cannot be used: FATAL: the database system is not yet accepting connections"]
    tries += ["x cannot be used: FATAL: the database system is in recovery mode"]
    tries += ["x cannot be used: terminating connection due to administrator command"]
    notes: list[str] = []
    close(open_patiently(database, notes.append, nothing))
    assert notes == [f"{REFUSED}; trying again for 30 s"]


def test_not_for_ever(tries: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 1.0)
    tries += [REFUSED] * 9
    with pytest.raises(CheckError, match="Connection refused"):
        open_patiently(storage_url("postgresql://h/d"), lambda _: None, nothing)
    assert len(tries) > 3


def test_whoever_is_refused_hears_it_at_once(tries: list[str]) -> None:
    tries += ["mysql://u@h/d cannot be used: (1045, \"Access denied for user 'u'\")", REFUSED]
    with pytest.raises(CheckError, match="Access denied"):
        open_patiently(storage_url("mysql://h/d"), lambda _: None, nothing)
    assert tries == [REFUSED]


def test_ctrl_c_ends_the_waiting(tries: list[str]) -> None:
    tries += [REFUSED] * 9

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_patiently(storage_url("mysql://h/d"), lambda _: None, interrupted)
    assert len(tries) == 8


def test_the_first_step_of_a_command_is_taken_again_and_its_errors_become_sentences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE_SECONDS", 0.01)
    url = storage_url("postgresql://u:secret@h/d")
    errors = [OperationalError("SELECT 1", {}, Exception(words)) for words in ("no such role u", "Connection refused")]
    notes: list[str] = []

    def step() -> None:
        raise errors.pop()

    with pytest.raises(CheckError, match="cannot be used: no such role u; see that the server runs"):
        at_first(step, url, notes.append, nothing)
    assert errors == []
    assert len(notes) == 1
    assert "cannot be used: Connection refused" in notes[0]
    assert "secret" not in notes[0]
