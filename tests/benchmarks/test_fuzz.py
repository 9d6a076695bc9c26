"""A sample of `python -m benchmarks.fuzz`: malformed files are refused or given up with a message, and nothing else."""

from pathlib import Path

import pytest

from benchmarks.fuzz import Findings, fuzz_checkpoints, fuzz_studies
from tests.exhaustive import few_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("tries", few_of([60, 250], [60]))
def test_study_files(tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # plugins are found below the folder that a command is started in
    findings = fuzz_studies(tries, 7, tmp_path)
    assert findings.found == []
    assert findings.outcomes["refused"] > tries / 3
    assert findings.outcomes["read"] > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tries", few_of([12, 60], [12]))
def test_checkpoints(tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    findings = fuzz_checkpoints(tries, 7, tmp_path, epochs=2)
    assert findings.found == []
    assert findings.outcomes["started again"] > tries / 3


def test_what_should_not_happen_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.fuzz.SECONDS", 0.05)
    findings, canary = Findings(), tmp_path / "executed"

    def misjudge(content: bytes) -> str:
        if content == b"hang":
            while True:
                pass
        if content == b"write":
            canary.touch()
        return str(1 // (content != b"raise"))

    for content in (b"hang", b"write", b"raise", b"well"):
        findings.try_out(content, misjudge, canary)
    assert [content for _, content in findings.found] == [b"hang", b"write", b"raise"]
    assert findings.outcomes == {"HANG": 1, "1": 2, "TRACEBACK": 1}
    assert not canary.exists()
