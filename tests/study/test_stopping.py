"""`stop`: studies end when they gain nothing any more, say why, and go on with a larger budget."""

from pathlib import Path
from typing import Any

import pytest

from cifar_tune.cli.study_status import one_status, status_lines
from cifar_tune.cli.summary_lines import outcome_lines
from cifar_tune.cli.watch_frame import frame, is_over
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_markdown import summary_markdown
from cifar_tune.storage.overview import overview
from cifar_tune.study.live import live
from cifar_tune.study.run import Outcome
from cifar_tune.study_spec.stop import FEWEST

from .conftest import RunStudy, spec_of
from .scripted import Script, ScriptedExecutors
from .test_deterministic import ShuffledExecutors, noisy

PLAIN: dict[str, Any] = {
    "budget": {"trials": 60},
    "sampler": {"name": "random", "seed": 1},
    "pruner": {"name": "none"},
    "train": {"epochs": 1},
    "search_space": {"lr": {"low": 0.01, "high": 1.0}},
}
WITHOUT_GAIN = PLAIN | {"stop": {"after_trials_without_gain": 7}}


def bounded(config: Configuration, epoch: int) -> float:
    """Half of all configurations are as good as can be, but for a very little."""
    return 0.5 + min(config.number("lr"), 0.5) / 10 + config.number("lr") * 1e-6


NOISE = PLAIN | {"stop": {"when": "noise", "factor": 0.1}}


def test_after_trials_without_gain(run_scripted: RunStudy) -> None:
    ending, record, _ = run_scripted(WITHOUT_GAIN)
    assert ending == "stopped"
    assert record.best is not None
    assert record.finished == record.best.number + 1 + 7 < 60
    assert record.stopped is not None
    assert record.stopped["words"] == f"none of the 7 trials after trial {record.best.number}, the best one, was better"
    assert (record.stopped["finished"], record.stopped["budget"]) == (record.finished, 60)


def test_the_same_run_again_begins_no_trial_and_a_larger_budget_goes_on(run_scripted: RunStudy) -> None:
    _, first, _ = run_scripted(WITHOUT_GAIN)
    ending, again, _ = run_scripted(WITHOUT_GAIN)
    assert (ending, again.finished, again.stopped) == ("stopped", first.finished, first.stopped)
    ending, more, recorder = run_scripted(WITHOUT_GAIN | {"budget": {"trials": 80}})
    assert (ending, more.finished >= first.finished + 7) == ("stopped", True)
    assert any("the study was stopped after" in note and "goes on" in note for note in recorder.notes)
    assert more.stopped is not None
    assert more.stopped["budget"] == 80
    since = first.finished
    if more.best is not None and more.best.number < since:
        words = f"none of the 7 trials from {since} on was better than trial {more.best.number}"
        assert more.stopped["words"] == words


def test_a_run_that_was_killed_in_between_counts_from_the_same_trial(run_scripted: RunStudy) -> None:
    _, first, _ = run_scripted(WITHOUT_GAIN)
    larger = WITHOUT_GAIN | {"budget": {"trials": 80}}
    ending, parked, _ = run_scripted(larger, stop_after=3)
    assert (ending, parked.stopped) == ("interrupted", None)
    ending, record, _ = run_scripted(larger)
    assert ending == "stopped"
    assert record.best is not None
    assert record.finished == max(first.finished, record.best.number + 1) + 7


def test_without_the_rule_it_goes_on(run_scripted: RunStudy) -> None:
    run_scripted(WITHOUT_GAIN)
    ending, record, _ = run_scripted(PLAIN)
    assert (ending, record.finished, record.stopped) == ("budget", 60, None)


def test_noise(run_scripted: RunStudy) -> None:
    """Of 297 validation images: one training scatters by some 2 points, and 0.1 times that is not to be gained."""
    ending, record, _ = run_scripted(NOISE, Script(curve=bounded))
    assert ending == "stopped"
    assert FEWEST <= record.finished < 60
    assert record.stopped is not None
    words = record.stopped["words"]
    assert words.startswith(
        f"without {record.finished // 2} of the {record.finished} completed trials the best would be only"
    )
    assert "less than 0.1 times the" in words
    assert "points by which trainings of one configuration scatter (estimated from" in words


def test_noise_of_repeated_configurations(run_scripted: RunStudy) -> None:
    space = {"lr": {"choices": [0.1, 0.2]}, "seed": {"low": 0, "high": 1000}}
    plain = NOISE | {"objective": {"metric": "val_loss"}, "search_space": space}
    ending, record, _ = run_scripted(plain, Script(curve=noisy))
    assert ending in ("stopped", "budget")
    calm = plain | {"name": "calm", "stop": {"when": "noise", "factor": 1.0}}
    ending, record, _ = run_scripted(calm, Script(curve=noisy))
    assert ending == "stopped"
    assert record.stopped is not None
    assert "scatter (measured on 2 repeated ones)" in record.stopped["words"]


def test_a_study_that_still_gains_goes_on(run_scripted: RunStudy) -> None:
    """Later trials are better ones, by far more than noise."""
    rising = Script(curve=lambda config, epoch: config.number("lr") ** 20)
    ending, record, _ = run_scripted(NOISE | {"budget": {"trials": FEWEST + 2}}, rising)
    assert (ending, record.finished) == ("budget", FEWEST + 2)


@pytest.mark.parametrize("rule", [NOISE, PLAIN | {"stop": {"after_trials_without_gain": 12}}])
def test_several_workers_end_what_runs_and_begin_nothing_more(run_scripted: RunStudy, rule: dict[str, Any]) -> None:
    executors = ShuffledExecutors(Script(curve=bounded), workers=4, seed=2)
    ending, record, _ = run_scripted(rule, executors=executors)
    assert ending == "stopped"
    assert record.finished == len(record.trials) < 60
    assert not record.counts["WAITING"]
    again, _, _ = run_scripted(rule, executors=ScriptedExecutors(Script(curve=bounded), 2))
    assert again == "stopped"


def test_batches_stop_after_the_same_trial_with_any_number_of_workers(run_scripted: RunStudy) -> None:
    found: list[tuple[int, list[object]]] = []
    for rule in ({"when": "noise", "factor": 0.1}, {"after_trials_without_gain": 9}):
        for workers, seed in ((1, 0), (4, 1), (3, 2)):
            name = f"study-{len(found)}"
            plain = PLAIN | {"name": name, "stop": rule, "deterministic": 4}
            executors = ShuffledExecutors(Script(curve=bounded), workers=workers, seed=seed)
            ending, record, _ = run_scripted(plain, executors=executors, stop_after=11 if workers == 3 else None)
            if ending == "interrupted":
                executors = ShuffledExecutors(Script(curve=bounded), workers=2, seed=seed)
                ending, record, _ = run_scripted(plain, executors=executors)
            assert ending == "stopped"
            assert record.finished % 4 == 0
            found.append((record.finished, [trial.params for trial in record.trials]))
    assert found[0] == found[1] == found[2]
    assert found[3] == found[4] == found[5]


def test_what_is_said(run_scripted: RunStudy, storage: BatchStorage, tmp_path: Path) -> None:
    _, record, _ = run_scripted(WITHOUT_GAIN)
    assert record.stopped is not None
    words = record.stopped["words"]
    spec = spec_of(WITHOUT_GAIN)
    lines = outcome_lines(Outcome("stopped", record), spec, ["run", "study.yaml", "--trials", "60"])
    assert lines[0].startswith("test: stopped by its rule (")
    assert lines[1] == f"stop: {words}"
    assert "go on with: cifar-tune run study.yaml --trials 67" in lines
    status = one_status("test", storage.engine.url)
    assert status["stopped"] == dict(record.stopped)
    assert f"  stopped by its rule: {words}" in status_lines(status)
    seen = live(storage, overview(storage, "test"))
    assert is_over(seen)
    assert "stopped by its rule" in "".join(str(each) for each in frame(seen).renderables)
    text = summary_markdown(Report(record), tmp_path, {})
    assert f"The study was stopped by its rule, before its budget was used up: {words}." in text
    assert "run test --trials 67    # go on; the rule needs 7 more trials without a new best before it can" in text


def test_a_study_that_runs_on_is_not_called_stopped(run_scripted: RunStudy, storage: BatchStorage) -> None:
    run_scripted(WITHOUT_GAIN, stop_after=3)
    assert one_status("test", storage.engine.url)["stopped"] is None
    assert not is_over(live(storage, overview(storage, "test")))
