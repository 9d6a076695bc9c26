"""Runs the command line in this process, in an empty folder with a storage of its own."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cifar_tune.cli.main import main
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE, STORAGE_VARIABLE

Cli = Callable[..., "Ended"]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(STORAGE_VARIABLE, raising=False)
    monkeypatch.delenv(ARTIFACTS_VARIABLE, raising=False)

    def run(*arguments: str, answer: str = "") -> Ended:
        monkeypatch.setattr("sys.argv", ["cifar-tune", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run
