"""The code of a study is imported apart from the server: whatever it does there, the server goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest
from sqlalchemy.engine import URL

from cifar_tune.errors import Problem, UserError
from cifar_tune.service import checking_apart
from cifar_tune.service.checking_apart import memory_limit
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import (
    BusyError,
)
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.storage.rdb import close, open_storage
from tests.waiting import PATIENCE

from .conftest import STUDY

PLUGIN = """
import os
from pathlib import Path
from cifar_tune.plugins import AugmentationPart

Path("ran").write_text(str(os.getpid()))
print("plugins may print")


def nothing(draw):
    return lambda images, batch: images


AUGMENTATIONS = {"nothing": AugmentationPart(nothing, "does nothing", stage="inputs")}
"""


@pytest.fixture
def server_desk(sqlite_url: URL) -> Iterator[StorageDesk]:
    """The desk of a server: what people submit must keep a rule, and is none of its own code."""
    opened = open_storage(sqlite_url)
    yield StorageDesk(opened.engine, sqlite_url, Actor("anna", "editor"), lambda _: [])
    close(opened)


def test_plugins_of_others_run_in_a_process_of_their_own(server_desk: StorageDesk, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    text = f"{STUDY}plugins: [mine.py]\nnotify: [https://example.org/hook]\n"
    fixed = "train.augment=[nothing]"
    made = server_desk.submit(text, settings=[fixed], folder=str(tmp_path))
    assert int((tmp_path / "ran").read_text()) != os.getpid()
    assert (made.study, made.trials, made.notify) == ("mine", 3, ("https://example.org/hook",))
    assert "nothing" in made.text
    assert "example.org" not in made.text
    with pytest.raises(UserError) as raised:
        server_desk.submit(f"{text}epochs: 3\n", "mine.yaml", [fixed, "name=other"], folder=str(tmp_path))
    assert [(problem.key, problem.line) for problem in raised.value.problems] == [("epochs", 9)]


@pytest.mark.parametrize(
    ("code", "seconds", "said"),
    [
        ("x = bytearray(3 << 30)", 120.0, r"mine.py:1: cannot be imported: MemoryError\n.* may use 2 GiB of memory"),
        pytest.param(
            "import torch\ntorch.empty(3 << 30, dtype=torch.uint8)",
            120.0,
            r"mine.py:2: cannot be imported: .*can't allocate memory.*\n.* may use 2 GiB .* .CIFAR_TUNE_CHECK_MEMORY.",
            marks=pytest.mark.exhaustive,
        ),
        ("import os; os._exit(7)", 120.0, r"plugins: end the process that imports them \(exit code 7\)"),
        ("while True: pass", 1.0, "plugins: do not come to an end within 1 s when they are imported"),
    ],
)
def test_plugins_that_hang_end_their_process_or_take_all_memory_are_refused(
    server_desk: StorageDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, seconds: float, said: str
) -> None:
    monkeypatch.setattr("cifar_tune.service.checking_apart.LONGEST_SECONDS", seconds)
    monkeypatch.setenv("CIFAR_TUNE_CHECK_MEMORY", "2")
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(UserError, match=said):
        server_desk.submit(f"{STUDY}plugins: [mine.py]\n", folder=str(tmp_path))


def test_only_so_many_wait_for_the_check_of_plugins(
    server_desk: StorageDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them holds a thread of the server."""
    monkeypatch.setattr(checking_apart, "_PLACES", Semaphore(0))
    (tmp_path / "mine.py").write_text(PLUGIN)
    text = f"{STUDY}plugins: [mine.py]\n"
    with pytest.raises(BusyError, match=r"the plugins of 8 other studies .* submit it again in a minute"):
        server_desk.submit(text, folder=str(tmp_path))
    assert server_desk.queue() == []
    monkeypatch.setattr(checking_apart, "_PLACES", places := Semaphore(1))
    monkeypatch.setattr(checking_apart, "_said", lambda *_: {"problems": [asdict(Problem("says no"))]})
    with pytest.raises(UserError, match="says no"):
        server_desk.submit(text, folder=str(tmp_path))
    assert places.acquire(blocking=False), "the place is given back"


def test_the_check_of_a_server_that_was_killed_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("while True: pass")
    given: Mapping[str, Any] = {
        "text": f"{STUDY}plugins: [mine.py]\n",
        "name_of_file": "x",
        "settings": [],
        "memory": None,
        "seconds": 1,
    }
    command = [sys.executable, "-P", "-m", "cifar_tune.service.checking_apart"]
    ended = subprocess.run(
        command, input=json.dumps(given), text=True, cwd=tmp_path, timeout=PATIENCE, check=False, capture_output=True
    )
    assert ended.returncode == -signal.SIGALRM, ended.stderr


def test_a_process_that_plugins_let_loose_holds_up_no_check(
    server_desk: StorageDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.service.checking_apart.LONGEST_SECONDS", 1.0)
    code = f"""
import os, pathlib, time
if os.fork() == 0:
    os.setsid()
    pathlib.Path({str(tmp_path / "loose")!r}).write_text(str(os.getpid()))
    time.sleep({PATIENCE})
while True: pass
"""
    (tmp_path / "mine.py").write_text(code)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(server_desk.submit, f"{STUDY}plugins: [mine.py]\n", folder=str(tmp_path))
        try:
            with pytest.raises(UserError, match="do not come to an end"):
                asked.result(timeout=PATIENCE / 4)
        finally:
            with suppress(OSError, ValueError):
                os.kill(int((tmp_path / "loose").read_text()), signal.SIGKILL)


def test_what_plugins_may_use_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, found in (("", 8 << 30), ("2", 2 << 30), ("0", None)):
        monkeypatch.setenv("CIFAR_TUNE_CHECK_MEMORY", given)
        assert memory_limit() == found
    for given in ("much", "-1", "0.1", "nan", "inf"):
        monkeypatch.setenv("CIFAR_TUNE_CHECK_MEMORY", given)
        with pytest.raises(UserError, match=f"CIFAR_TUNE_CHECK_MEMORY = '{given}': must be a number of GiB from 1.5"):
            memory_limit()
