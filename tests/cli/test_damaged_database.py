"""Every command that reads a study, on a database in which something makes no sense: a sentence, and no traceback."""

import json
import sqlite3
from pathlib import Path

import pytest

from cifar_tune.dashboard.report_pages import ReportPages
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_existing, open_storage
from cifar_tune.storage.urls import storage_url
from tests.reports.factory import MadeTrial, make_record, make_spec

from .conftest import Cli

URL = "sqlite:///studies.db"
SPACE = {"lr": {"low": 0.1, "high": 1}, "activation": {"choices": ["relu", "elu"]}}
TRIALS = [MadeTrial({"lr": 0.1, "activation": "relu"}, 0.5), MadeTrial({"lr": 0.2, "activation": "elu"}, 0.75)]
COMMANDS = {
    "status": ("status", "bad"),
    "status --json": ("status", "bad", "--json"),
    "watch": ("watch", "bad", "--once"),
    "export": ("export", "bad"),
    "compare": ("compare", "bad", "--by", "activation"),
    "finalize": ("finalize", "bad", "--again"),
    "run": ("run", "bad"),
}
OF_TRIAL_1 = "trial_id = (SELECT trial_id FROM trials ORDER BY trial_id DESC LIMIT 1)"
DAMAGES = {
    "a config that is no JSON": (
        f"UPDATE trial_user_attributes SET value_json = '{{\"lr\": 0.' WHERE key = 'config' AND {OF_TRIAL_1}",
        "trial 1: its attribute 'config' is no JSON",
    ),
    "a config of other knobs": (
        f"UPDATE trial_user_attributes SET value_json = '{{\"epochs\": \"x\"}}' WHERE key = 'config' AND {OF_TRIAL_1}",
        "trial 1: its epochs is 'x'",
    ),
    "text that is no UTF-8": (
        f"UPDATE trial_user_attributes SET value_json = CAST(x'22ff22' AS TEXT) WHERE key = 'config' AND {OF_TRIAL_1}",
        "trial 1: could not decode to UTF-8 column 'value_json'",
    ),
    "a value that is none": (
        f"UPDATE trial_values SET value = 'NaN' WHERE {OF_TRIAL_1}",
        "trial 1: a value of it is 'NaN'",
    ),
    "a missing value": (f"DELETE FROM trial_values WHERE {OF_TRIAL_1}", "trial 1: it is complete, and has no value"),
    "a missing trial": ("DELETE FROM trials WHERE number = 0 AND study_id = 1", "trial"),
}  # fmt: skip


@pytest.fixture
def stored(cli: Cli, tmp_path: Path) -> Path:
    storage = open_storage(storage_url(URL))
    spec = make_spec(SPACE, name="bad", budget={"trials": 9}, data={"name": "digits", "val_size": 300})
    record = make_record(spec, TRIALS, storage)
    record.study.set_user_attr(attributes.DATA, {})  # no run has seen its images
    make_record(make_spec(SPACE, name="good"), [], storage)
    close(storage)
    return tmp_path / "studies.db"


def change(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    with connection:
        # of the first study: the other one has no trials
        assert connection.execute(statement).rowcount == 1
    connection.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_command_says_what_and_where(cli: Cli, stored: Path, damage: str) -> None:
    statement, words = DAMAGES[damage]
    change(stored, statement)
    for name, arguments in COMMANDS.items():
        if name in ("run", "finalize") and damage != "a config that is no JSON":  # they take seconds
            continue
        ended = cli(*arguments, "--storage", URL)
        assert ended.code == 1, (name, ended)
        assert "cifar-tune: the database holds what makes no sense" in ended.err, (name, ended.err)
        assert "in the study 'bad', " in ended.err, name
        assert words in ended.err, (name, ended.err)
        assert "cifar-tune delete bad" in ended.err, name
    assert not (stored.parent / "storage" / "logs").exists()


def test_the_other_studies_are_shown_and_the_damaged_one_can_be_deleted(cli: Cli, stored: Path) -> None:
    change(stored, "UPDATE study_user_attributes SET value_json = '[' WHERE key = 'environment'")
    ended = cli("status", "--storage", URL)
    assert ended.code == 1
    assert "bad: cannot be read: the database holds what makes no sense" in ended.out
    assert "good: 0 of 50 trials done" in ended.out
    studies = json.loads(cli("status", "--json", "--storage", URL).out)["studies"]
    assert [each["name"] for each in studies] == ["bad", "good"]
    assert "its attribute 'environment' is no JSON" in studies[0]["damaged"]
    assert cli("status", "good", "--storage", URL).code == 0
    ended = cli("delete", "bad", "--yes", "--storage", URL)
    assert (ended.code, ended.out) == (0, "removed bad (2 trials)\n")
    ended = cli("status", "--storage", URL)
    assert ended.code == 0
    assert "bad" not in ended.out


def test_the_dashboard_answers_with_the_sentence(cli: Cli, stored: Path) -> None:
    change(stored, DAMAGES["a missing value"][0])
    storage = open_existing(storage_url(URL))
    assert storage is not None
    statuses: list[str] = []
    pages = ReportPages(storage, lambda _environ, _start: [])
    environ = {"PATH_INFO": "/report/bad/", "REQUEST_METHOD": "GET"}
    body = b"".join(pages(environ, lambda status, _headers: statuses.append(status) or (lambda _: None)))  # type: ignore[arg-type, func-returns-value]
    close(storage)
    assert statuses == ["500 Internal Server Error"]
    assert b"trial 1: it is complete, and has no value" in body
