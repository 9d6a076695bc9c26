"""An error that nobody foresaw ends every command with a sentence; its traceback is in a file, without passwords."""

import re
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from cifar_tune.cli import study_status
from cifar_tune.errors import UnexpectedError
from cifar_tune.storage.urls import STORAGE_VARIABLE
from cifar_tune.study import run

from .conftest import Cli

SECRET = "geh3im/x"  # noqa: S105
QUOTED = "geh3im%2Fx"


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError(f"at postgresql://u:{QUOTED}@h/d, password {SECRET}")


def logs(folder: Path) -> list[Path]:
    return list((folder / "storage" / "logs").iterdir())


@pytest.mark.parametrize("given", ["environment", "option", "option with ="])
def test_the_traceback_is_in_a_file_that_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setattr(study_status, "all_statuses", broken)
    url = f"postgresql://u:{QUOTED}@h/d"
    arguments = {"environment": (), "option": ("--storage", url), "option with =": (f"--storage={url}",)}[given]
    if given == "environment":
        monkeypatch.setenv(STORAGE_VARIABLE, url)
    ended = cli("status", *arguments)
    (log,) = logs(tmp_path)
    assert (ended.code, ended.out) == (1, "")
    first, second = ended.err.splitlines()
    assert first.startswith(
        "cifar-tune: an unexpected error ended the command: ZeroDivisionError: at postgresql://u:***"
    )
    assert second.startswith(f"cifar-tune: its traceback is in storage/logs/{log.name}; ")
    content = log.read_text()
    assert re.match(r"\d{4}-\d\d-\d\dT.*: cifar-tune status", content)
    assert "in broken\n    raise ZeroDivisionError" in content
    for text in (ended.err, content):
        assert SECRET not in text
        assert QUOTED not in text


def test_where_no_file_can_be_written_the_traceback_goes_to_stderr(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_status, "all_statuses", broken)
    monkeypatch.setenv(STORAGE_VARIABLE, f"postgresql://u:{QUOTED}@h/d")
    (tmp_path / "storage").write_text("")
    ended = cli("status")
    assert ended.code == 1
    assert "Traceback (most recent call last)" in ended.err
    assert "in broken" in ended.err
    assert SECRET not in ended.err


def test_a_sentence_of_ours_keeps_the_cause_for_the_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        try:
            broken()
        except ZeroDivisionError as error:
            raise UnexpectedError("the study cannot be written any more") from error

    monkeypatch.setattr(run, "run_study", fails)
    (tmp_path / "study.yaml").write_text("name: x\ndata: {name: digits}\n")
    ended = cli("run", "study.yaml", "--quiet")
    (log,) = logs(tmp_path)
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "cifar-tune: the study cannot be written any more",
        f"cifar-tune: its traceback is in storage/logs/{log.name}; if it is a fault of cifar-tune, please report it "
        f"with that file",
    ]
    assert "in broken" in log.read_text()


@pytest.mark.parametrize(
    ("kind", "is_logged"), [(OperationalError, False), (IntegrityError, True), (ProgrammingError, True)]
)
def test_what_the_database_refuses_is_logged_and_what_is_out_of_reach_is_not(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[DBAPIError], is_logged: bool
) -> None:
    def fails(*_: object) -> None:
        try:
            raise kind("SELECT 1", None, Exception("the words of the database"))
        except kind as error:
            raise StorageInternalError("An exception is raised during the commit.") from error

    monkeypatch.setattr(study_status, "all_statuses", fails)
    ended = cli("status")
    first, *more = ended.err.splitlines()
    assert ended.code == 1
    assert first == (
        "cifar-tune: the database cannot be read or written: the words of the database; what is stored stays as it is"
    )
    if is_logged:
        (log,) = logs(tmp_path)
        assert more[0].startswith(f"cifar-tune: its traceback is in storage/logs/{log.name}; ")
        assert kind.__name__ in log.read_text()
    else:
        assert not more


@pytest.mark.parametrize("parameter", ["ssl_key_password", "oauth_client_secret"])
def test_secrets_in_the_query_of_a_url_are_left_out(cli: Cli, tmp_path: Path, parameter: str) -> None:
    url = f"postgresql://u@127.0.0.1:1/d?{parameter}={QUOTED}&application_name=tune"
    for arguments in (("--storage", url), (f"--storage={url}",), (f"--storage={url.replace(':1/', ':x/')}",)):
        ended = cli("status", *arguments)
        assert ended.code in (1, 2)
        assert "cifar-tune: " in ended.err
        assert SECRET not in ended.out + ended.err
        assert QUOTED not in ended.out + ended.err


def test_a_url_in_the_words_of_an_error_loses_its_secrets(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError(f"at mysql://h/d?ssl_key_password={QUOTED}, given {SECRET}")

    monkeypatch.setattr(study_status, "all_statuses", fail)
    ended = cli("status", "--storage", f"mysql://h/d?ssl_key_password={QUOTED}")
    (log,) = logs(tmp_path)
    for text in (ended.err, log.read_text()):
        assert "ZeroDivisionError: at mysql://h/d?ssl_key_password=***" in text
        assert SECRET not in text
        assert QUOTED not in text
