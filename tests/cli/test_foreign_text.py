"""Names and words that other programs have put into a database: none reaches a terminal or a report as it is.

Real processes on a real terminal, since there the colours of our own stay.
"""

import csv
import os
import pty
import re
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
import yaml

from cifar_tune.storage import attributes, lease
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import STORAGE_VARIABLE, storage_url
from cifar_tune.visible import visible_lines
from tests.forked import forks
from tests.reports.factory import ENVIRONMENT, MadeTrial, make_record, make_spec

ODD = "\x1b]0;owned\x07\x1b[2J\x9b1m\u202e\ntrain: {model: evil}"
NAME = f"=evil{ODD}"
SPACE = {"lr": {"low": 0.1, "high": 1}, "activation": {"choices": ["relu", "elu"]}}
COLOURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[hl]")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage with one study, all of whose free texts are hostile."""
    found = f"sqlite:///{tmp_path}/studies.db"
    storage = open_storage(storage_url(found))
    attrs = {attributes.DEVICE: f"cpu{ODD}", attributes.ERROR: f"Boom: {ODD}", attributes.PRECISION: f"fp32{ODD}"}
    trials = [
        MadeTrial({"lr": 0.1, "activation": "relu"}, 0.5, attrs=attrs | {attributes.PRECISION: "fp32"}),
        MadeTrial({"lr": 0.2, "activation": "elu"}, 0.7, attrs=attrs | {attributes.PRECISION: "fp32"}),
        MadeTrial({"lr": 0.3, "activation": "elu"}, None, "FAIL", 0, "error", f"Boom: {ODD}", attrs=attrs),
        MadeTrial({"lr": 0.5, "activation": "relu"}, 0.6, "RUNNING", 3, attrs=attrs),
    ]
    record = make_record(make_spec(SPACE, name="tame", budget={"trials": 9}), trials, storage)
    record.study.set_user_attr(attributes.ENVIRONMENT, ENVIRONMENT | {f"key{ODD}": f"value{ODD}", "torch": ODD})
    optuna.copy_study(from_study_name="tame", from_storage=storage, to_storage=storage, to_study_name=NAME)
    optuna.delete_study(study_name="tame", storage=storage)
    monkeypatch.setattr(lease, "_host", lambda: f"host{ODD}")
    lease.acquire(storage.engine, NAME)
    close(storage)
    return found


def on_a_terminal(arguments: Sequence[str], folder: Path, url: str) -> tuple[int, str]:
    """Exit code, and what the terminal was sent."""
    ours, theirs = pty.openpty()
    environment = os.environ | {STORAGE_VARIABLE: url, "TERM": "xterm-256color", "COLUMNS": "300"}
    process = forks().start(arguments, folder, environment, (theirs, theirs, theirs))
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # nobody has it open any more
            break
        if not part:
            break
        found += part
    os.close(ours)
    return process.wait(), found.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status",), 0), (("status", NAME), 0), (("watch", NAME, "--once"), 0), (("status", f"{NAME}x"), 2),
        (("export", NAME), 2), (("compare", NAME, "--by", "activation", "--output", "out"), 0),
        (("finalize", NAME), None), (("run", NAME), 2), (("delete", NAME, "--yes"), 1),
    ],
)  # fmt: skip
def test_nothing_raw_reaches_a_terminal(tmp_path: Path, url: str, arguments: Sequence[str], code: int | None) -> None:
    ended, text = on_a_terminal(arguments, tmp_path, url)
    plain = COLOURS.sub("", text)
    assert visible_lines(plain) == plain
    assert "0;owned" in plain
    assert not any(line.startswith("train: {model") for line in plain.split("\n"))
    assert "Traceback" not in plain
    assert code is None or ended == code, plain


def test_nothing_raw_reaches_a_report(tmp_path: Path, url: str) -> None:
    folder = tmp_path / "out"
    ended, _ = on_a_terminal(("export", NAME, "--output", "out"), tmp_path, url)
    assert ended == 0
    for file in folder.iterdir():
        if file.suffix in (".md", ".html", ".json", ".yaml"):
            text = file.read_text()
            assert visible_lines(text) == text, file
            is_page = file.suffix == ".html"  # where a line end is a space
            assert is_page or not any(line.startswith("train: {model") for line in text.split("\n")), file
    assert yaml.safe_load((folder / "best.yaml").read_text())["train"]["model"] != "evil"
    with (folder / "trials.csv").open(newline="") as table:
        assert len(list(csv.DictReader(table))) == 4
