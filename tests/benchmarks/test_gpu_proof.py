"""The proof for a GPU runs in its small form on the CPU: what one part or case meets, the others do not suffer from."""

import json
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from benchmarks.gpu import proof
from benchmarks.gpu.setting import read_rows

ROOT = Path(__file__).parents[2]


def answers_of(folder: Path) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((folder / "gpu-proof.json").read_text())["parts"]
    return answers


@pytest.mark.exhaustive
def test_a_part_and_a_case_that_fail_are_told_and_the_next_ones_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(proof, "_ROOT", tmp_path)  # without tests
    assert proof.main(["--device", "cpu", "--parts", "tests", "speed", "--output", str(tmp_path)]) == 1
    answers = answers_of(tmp_path)
    assert answers["tests"]["problem"] == f"FileNotFoundError: there are no tests in {tmp_path}"
    assert answers["speed"]["problem"] == ""
    tutorial, resnet, unknown = answers["speed"]["rows"]
    assert {"ours", "eager", "classic fp32", "classic AMP"} <= {*tutorial}
    assert resnet["ours"] > 0
    assert unknown["problem"].startswith("ours: KeyError")
    said = capsys.readouterr().out
    assert "its figures mean nothing" in said
    assert (tmp_path / "gpu-proof.md").read_text().strip() == said.strip()


def test_a_part_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(proof, "_ROOT", tmp_path)  # without tests
    assert proof.main(["--device", "cpu", "--parts", "tests", "--output", str(tmp_path)]) == 1
    problem = f"FileNotFoundError: there are no tests in {tmp_path}"
    assert answers_of(tmp_path)["tests"]["problem"] == problem
    said = capsys.readouterr().out
    assert f"This part failed: {problem}" in said
    assert (tmp_path / "gpu-proof.md").read_text().strip() == said.strip()


@pytest.mark.slow
def test_every_part_in_the_small_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    proof.main(["--device", "cpu", "--output", str(tmp_path)])
    answers = answers_of(tmp_path)
    assert {name: answer["problem"] for name, answer in answers.items()} == dict.fromkeys(proof.PARTS, "")
    first, second = answers["digits"]["rows"]
    assert first["values"] == second["values"]
    assert second["same"]
    _, again = answers["kills"]["rows"]
    assert again["what"].endswith("exit code 0")
    assert "2 of 2 trials done" in again["status"]


def test_every_part_is_measured_by_a_function_that_there_is() -> None:
    assert all(callable(resolve_name(part.measure)) for part in proof.PARTS.values())


def test_a_row_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert read_rows(path) == []
    path.write_text('{"trial": 0}\n{"trial": 1}\n{"tri')
    assert read_rows(path) == [{"trial": 0}, {"trial": 1}]
