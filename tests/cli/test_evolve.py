"""`run` on the command line where the study file has changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from cifar_tune.storage.openings import write_opening
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.urls import storage_url
from tests.reports.factory import analysed_opening

from .conftest import Cli

STUDY = """name: demo
budget: {trials: 2}
data: {name: digits, train_size: 64, val_size: 100, image_size: 8}
train: {model: cnn2, width: 4, epochs: 1}
search_space: {lr: {low: 1e-3, high: 1.0, log: true}}
"""


URL = "sqlite:///storage/cifar_tune.db"


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
    assert "changed: search_space.lr.high: 1.0 -> 2.0" in ended.err.splitlines()
    return ended.err


@pytest.mark.usefixtures("blank_pictures")
def test_it_goes_on_with_the_trials_that_fit_and_keeps_the_old_study(cli: Cli, evolved: str) -> None:
    assert "demo has evolved: 2 finished trials carried over; 0 left behind" in evolved
    told = cli("status").out
    assert "demo: 3 of 3 trials done" in told
    assert "evolved from demo@1: 2 trials carried over, 0 left behind" in told
    assert "demo@1: 2 of 2 trials done" in told
    assert cli("export", "demo@1").out.startswith("reports/demo@1/best.yaml")
    assert cli("delete", "demo@1", "--yes").out == "removed demo@1 (2 trials)\n"


def test_without_progress_it_still_says_what_was_changed(cli: Cli, evolved: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(STUDY.replace("trials: 2", "trials: 3").replace("high: 1.0", "high: 3.0"))
    ended = cli("run", "s.yaml", "--evolve", "--yes", "--quiet")
    assert ended.err.splitlines() == [
        "changed: search_space.lr.high: 2.0 -> 3.0",
        "demo has evolved: 3 finished trials carried over; 0 left behind. The study as it was is kept as demo@2",
    ]


@pytest.mark.usefixtures("blank_pictures")
def test_the_earlier_version_is_not_tested(cli: Cli, evolved: str) -> None:
    """Its opening would be missing on the record of the study that is run on."""
    advice = (
        "Test the best trial of demo with `cifar-tune finalize demo`, or that of demo@1 with `cifar-tune export "
        "demo@1` and then `cifar-tune finalize demo --config reports/demo@1/best.yaml`"
    )
    refused = cli("finalize", "demo@1")
    assert (refused.code, refused.out) == (2, "")
    assert advice in refused.err
    storage = open_storage(storage_url(URL))
    opening = replace(analysed_opening(), trial=0, study=None)
    write_opening(load_record(storage, "demo@1").study, 0, opening)
    close(storage)
    assert cli("finalize", "demo@1", "--again").code == 2
    asked = cli("finalize", "demo@1", "--trial", "1")
    assert (asked.code, "--again" in asked.err, advice in asked.err) == (2, False, True)
    kept = cli("finalize", "demo@1")
    assert kept.code == 0
    assert kept.err.endswith("demo@1 has evolved into demo; to test that study: cifar-tune finalize demo\n")
    weights = cli("export", "demo@1", "--weights")
    assert weights.code == 1
    assert "it has evolved into demo" in weights.err
    assert weights.err.endswith("cifar-tune finalize demo\n")
    cli("export", "demo@1")
    commands = Path("reports/demo@1/summary.md").read_text().partition("## How to go on")[2]
    assert "cifar-tune run demo    # go on with the study that this one evolved into" in commands
    assert "run demo@1" not in commands
    assert "finalize" not in commands
    cli("delete", "demo", "--yes")
    alone = cli("finalize", "demo@1")
    assert alone.err.endswith("on the record: cifar-tune finalize demo@1 --again\n")


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
