"""A plain `cifar-tune run` tells the addresses of its study file; nobody is told of what never began."""

import json
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from cifar_tune.service import run_telling
from cifar_tune.service.addresses import EVENT, SECRET_VARIABLE, SIGNATURE, TIMESTAMP, signature, tell
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.study import run
from tests.service.test_telling import Listener, listener
from tests.study.scripted import Script, ScriptedExecutors
from tests.waiting import PATIENCE

from .conftest import Cli

__all__ = ["listener"]

_STUDY = """
name: told
budget: {trials: 3}
sampler: {name: random, seed: 1}
pruner: {name: none}
data: {name: digits}
train: {model: cnn2, width: 4, epochs: 2}
search_space: {lr: {low: 0.1, high: 0.9}}
"""


def write_study(folder: Path, *addresses: str) -> None:
    (folder / "study.yaml").write_text(f"{_STUDY}notify: {json.dumps(addresses)}\n")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """What the trials of the study do, in place of training."""
    script = Script()
    monkeypatch.setattr(run_telling, "LAST_SECONDS", PATIENCE)
    monkeypatch.setattr(run, "LocalExecutors", lambda *_arguments, **_more: ScriptedExecutors(script))
    return script


@pytest.mark.usefixtures("blank_pictures")
def test_new_bests_and_the_end_are_told(
    cli: Cli, script: Script, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.curve = lambda config, _: 1 - config.number("lr")
    monkeypatch.setattr(run_telling, "BEST_SECONDS", 0.0)
    monkeypatch.setenv(SECRET_VARIABLE, "between us")
    write_study(tmp_path, f"{listener.address}/secret-path")
    ended = cli("run", "study.yaml")
    assert ended.code == 0, ended.err
    told = [json.loads(body) for _, body in listener.got]
    assert [each["what"] for each in told] == ["best", "best", "done"]
    assert {each["study"] for each in told} == {"told"}
    assert [(each["trial"], each["metric"]) for each in told[:2]] == [(0, "val_accuracy"), (1, "val_accuracy")]
    assert (told[2]["exit_code"], told[2]["submission"]) == (0, None)
    assert told[2]["text"].startswith("The study told has ended: done (its budget is used up; best val_accuracy ")
    for headers, body in listener.got:
        assert headers[SIGNATURE] == signature("between us", headers[TIMESTAMP], body)
    assert len({headers[EVENT] for headers, _ in listener.got}) == 3
    cli("export", "told")
    stored = open_storage(storage_url(None))
    assert "secret-path" not in json.dumps(stored.get_study_user_attrs(1))
    close(stored)
    exported = [file for file in (tmp_path / "reports" / "told").rglob("*") if file.is_file()]
    assert exported
    assert not [file for file in exported if b"secret-path" in file.read_bytes()]
    assert "secret-path" not in ended.out + ended.err
    assert cli("run", "study.yaml").code == 0
    assert len(listener.got) == 3, "nothing was trained, so nothing is told"


def test_a_failure_is_told_also_where_nobody_answers_at_first(
    cli: Cli, script: Script, tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.disasters = {number: [(1, "diverged")] for number in range(3)}
    listener.statuses = [500]
    monkeypatch.setattr(run_telling, "_LAST_PAUSE", 0.0)
    write_study(tmp_path, listener.address)
    assert cli("run", "study.yaml").code == 1
    assert len(listener.got) == 2
    told = json.loads(listener.got[-1][1])
    assert (told["what"], told["exit_code"]) == ("failed", 1)


def test_who_never_answers_is_named_and_holds_up_nothing(
    cli: Cli, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, has_failed = count(1), Event()

    def tell_again(*given: Any) -> None:
        if next(tries) > 1:  # it is known why the first try failed
            has_failed.set()
            Event().wait()
        tell(*given)

    class Telling(Thread):
        def join(self, timeout: float | None = None) -> None:
            assert has_failed.wait(PATIENCE)
            super().join(timeout)

    monkeypatch.setattr(run_telling, "tell", tell_again)
    monkeypatch.setattr(run_telling, "Thread", Telling)
    monkeypatch.setattr(run_telling, "_LAST_PAUSE", 0.0)
    monkeypatch.setattr(run_telling, "LAST_SECONDS", 0.01)
    write_study(tmp_path, "http://127.0.0.1:9/secret-path", "nonsense://secret-word")
    ended = cli("run", "study.yaml")
    assert ended.code == 0
    assert "note: nonsense://*** gets no message: it is none" in ended.err
    assert "warning: http://127.0.0.1 got no message on how the run went: it cannot be reached" in ended.err
    assert "secret" not in ended.out + ended.err


def test_an_interruption_is_not_told(cli: Cli, script: Script, tmp_path: Path, listener: Listener) -> None:
    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    script.curve = interrupted
    write_study(tmp_path, listener.address)
    ended = cli("run", "study.yaml", "--set", f"notify=[{listener.address}/secret-path]")
    assert ended.code == 130
    assert "secret-path" not in ended.out + ended.err
    assert listener.got == []
