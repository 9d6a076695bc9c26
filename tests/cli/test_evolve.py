"""`run` on the command line where the study file has changed."""

from pathlib import Path

import pytest

from .conftest import Cli

STUDY = """name: demo
budget: {trials: 2}
data: {name: digits, train_size: 64, val_size: 100, image_size: 8}
train: {model: cnn2, width: 4, epochs: 1}
search_space: {lr: {low: 1e-3, high: 1.0, log: true}}
"""


@pytest.fixture
def evolved(cli: Cli, tmp_path: Path) -> str:
    """What was said by the run that evolved the study; there is `demo` and `demo@1` then."""
    (tmp_path / "s.yaml").write_text(STUDY)
    assert cli("run", "s.yaml").code == 0
    (tmp_path / "s.yaml").write_text(STUDY.replace("trials: 2", "trials: 3").replace("high: 1.0", "high: 2.0"))
    refused = cli("run", "s.yaml")
    assert refused.code == 2
    assert "search_space.lr.high: 1.0 -> 2.0" in refused.err
    assert "carry over the trials that fit, with --evolve" in refused.err
    asked = cli("run", "s.yaml", "--evolve")
    assert asked.code == 2
    assert asked.err == (
        "changed: search_space.lr.high: 1.0 -> 2.0\n"
        "demo would evolve: 2 finished trials carried over; 0 left behind. "
        "The study as it was would be kept as demo@1\n"
        "cifar-tune: nothing was changed, since nobody can be asked here: add --yes to carry the trials over\n"
    )
    ended = cli("run", "s.yaml", "--evolve", "--yes")
    assert (ended.code, "Traceback" in ended.err) == (0, False)
    return ended.err


def test_it_goes_on_with_the_trials_that_fit_and_keeps_the_old_study(cli: Cli, evolved: str) -> None:
    assert "demo has evolved: 2 finished trials carried over; 0 left behind" in evolved
    told = cli("status").out
    assert "demo: 3 of 3 trials done" in told
    assert "evolved from demo@1: 2 trials carried over, 0 left behind" in told
    assert "demo@1: 2 of 2 trials done" in told
    assert cli("export", "demo@1").out.startswith("reports/demo@1/best.yaml")
    assert cli("delete", "demo@1", "--yes").out == "removed demo@1 (2 trials)\n"


def test_who_says_no_changes_nothing(cli: Cli, evolved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.cli.asking._is_somebody_there", lambda: True)
    (tmp_path / "s.yaml").write_text(STUDY.replace("trials: 2", "trials: 3").replace("high: 1.0", "high: 3.0"))
    before = cli("status", "--json").out
    ended = cli("run", "s.yaml", "--evolve", answer="n\n")
    assert (ended.code, "Carry them over? [y/N]" in ended.err) == (1, True)
    assert cli("status", "--json").out == before
    (tmp_path / "s.yaml").write_text(STUDY.replace("trials: 2", "trials: 3").replace("high: 1.0", "high: 2.0"))
    ended = cli("run", "s.yaml", "--evolve")  # nothing has changed, so nobody is asked
    assert (ended.code, "Carry" in ended.err) == (0, False)


def test_the_earlier_version_is_not_run(cli: Cli, evolved: str) -> None:
    ended = cli("run", "demo@1")
    assert ended.code == 2
    assert ended.err.startswith("cifar-tune: demo@1: is kept as it was before demo evolved, and is not run any more")
