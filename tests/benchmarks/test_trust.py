"""The short form of `python -m benchmarks trust`: what it simulates on few studies holds there too."""

from pathlib import Path

import pytest

from benchmarks.question import write_section
from benchmarks.trust.checks import Check
from benchmarks.trust.main import PARTS, main
from tests.exhaustive import few_of

CHEAP = {
    "intervals": 200,
    "seeds": 200,
    "paired differences": 800,
    "stop": 1200,
    "repeats": 200,
    "finals": 1500,
    "ties": 600,
}
"""Parts, and how many studies each makes: rates of rare misses need many."""


@pytest.mark.parametrize(("part", "studies"), few_of(CHEAP.items(), [("stop", 1200), ("repeats", 200)]))
def test_figures_hold(part: str, studies: int) -> None:
    found = list(PARTS[part](studies))
    assert [check for check in found if not check.holds] == []
    assert len(found) > 2


def test_what_does_not_hold_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("benchmarks.trust.main.PARTS", {"stop": lambda _: [Check("a figure, %", 90.0, 93.5, 97)]})
    assert main(["stop", "--quick"]) == 1
    told = capsys.readouterr().out
    assert "| a figure, % | 90 | 93.5 to 97 |" in told
    assert "does not hold: a figure, %" in told


def test_simulations_leave_what_was_measured_on_real_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    document = tmp_path / "statistics.md"
    write_section(document, "real images", "## real images\n\n| what training has shown |")
    monkeypatch.setattr("benchmarks.trust.main.DOCUMENT", document)
    monkeypatch.setattr("benchmarks.trust.main.PARTS", {"stop": lambda _: [Check("a figure, %", 95.0, 93.5, 97)]})
    for _ in range(2):
        assert main([]) == 0
    text = document.read_text()
    assert text.startswith("# Do the figures hold?")
    assert "## stop\n\nHow many trials does" in text
    assert text.count("a figure, %") == 1
    assert text.count("| what training has shown |") == 1
