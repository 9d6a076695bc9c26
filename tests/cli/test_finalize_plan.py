"""The plan of `finalize --dry-run`, and what is said of repeated configurations that lack trainings."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cifar_tune.cli.progress import LiveView
from cifar_tune.cli.race_plan import plan_lines
from cifar_tune.cli.race_run import Asked, about_quick
from cifar_tune.cli.study_status import one_status, status_lines
from cifar_tune.cli.summary_lines import outcome_lines
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.choosing import Choice, about_training, trial_of
from cifar_tune.study.plain_lines import ending
from cifar_tune.study.race import RaceRecord, race_of
from cifar_tune.study.run import Outcome
from cifar_tune.study.standing import Standing
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.reports.test_race import VALUES, raced
from tests.reports.test_repeats import made as repeated

BEGUN = {key: value for key, value in VALUES.items() if key[1] < 2}
LACKING = {"relu": (0.80, 0.82, 0.84), "elu": (0.83,)}


def race_record(record: StudyRecord) -> RaceRecord:
    race = race_of(record)
    assert race is not None
    assert record.finals is not None
    return RaceRecord(race, record.finals)


def test_a_race_that_has_begun_is_not_planned_anew() -> None:
    record = raced(BEGUN)
    begun = race_record(record)
    whole, left = (plan_lines(record, begun.race, 5, 60_000, each) for each in (None, begun))
    assert whole[-2].startswith("then 5 networks on 60,000 images")
    assert whole[-1].startswith("in all about ")
    assert left[-3] == "the race has begun: 6 of 10 trainings are done; 4 are left at most"
    assert left[-1].startswith("what is left takes about ")
    over = race_record(raced(VALUES))
    lines = plan_lines(record, over.race, 5, 60_000, over)
    assert lines[-3] == "the race is over: trial 1 has won, and no training of it is left"


def test_the_networks_train_on_all_images_and_take_as_much_longer() -> None:
    record = raced(VALUES)
    ten = plan_lines(record, "nothing is raced", 1, 10 * record.data["train_images"])
    one = plan_lines(record, "nothing is raced", 1, record.data["train_images"])
    assert one[-2] == "1 network on 45,000 images, those of the validation split among them; about 12 s"
    assert ten[-2].endswith("; about 2 min")


def test_quick_says_where_a_race_has_found_a_better_trial() -> None:
    wanted = Asked(None, 1, quick=True, options=ExecutorOptions())
    words = about_quick(raced(VALUES), Choice(), wanted)
    assert words is not None
    assert "the best trial of the study, 0, although trial 1 has won its race; take that one with --trial 1" in words
    assert about_quick(raced(VALUES), Choice(trial=0), wanted) is None
    assert about_quick(raced(BEGUN), Choice(), wanted) is None


def test_a_budget_that_ends_inside_a_configuration_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = repeated(values=LACKING)
    note = (
        "note: 1 of the 3 trainings of the configuration of trial 3 has completed, so it is not ranked; with more "
        "trials it gets the others first"
    )
    assert note in outcome_lines(Outcome("budget", record), record.spec, ["run", "grid"])
    assert note not in outcome_lines(Outcome("interrupted", record), record.spec, ["run", "grid"])
    whole = repeated(values={"relu": (0.80, 0.82, 0.84), "elu": (0.83, 0.84, 0.85)})
    assert not any("trainings of the" in line for line in outcome_lines(Outcome("budget", whole), whole.spec, []))
    monkeypatch.chdir(tmp_path)
    storage = open_storage(storage_url("sqlite:///made.db"))
    trials = [
        MadeTrial({"activation": name}, value, attrs={attributes.REPEAT: index + 1})
        for name, values in LACKING.items()
        for index, value in enumerate(values)
    ]
    make_record(record.spec, trials, storage)
    close(storage)
    lines = status_lines(one_status("made", storage_url("sqlite:///made.db")))
    assert "  not ranked: 1 configuration that has fewer than 3 completed trainings" in lines


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (3, "only 1 of the 3 trainings of the configuration of trial 3 has completed"),
        (1, "trial 1 is one training of its configuration; the value of that is the mean of trials 0, 1, 2, 0.82"),
        (2, None),
    ],
)
def test_one_training_of_several_is_told_apart(number: int, words: str | None) -> None:
    record = repeated(values=LACKING)
    sentence = about_training(record, trial_of(record, Choice(trial=number)))
    assert sentence is words if words is None else (sentence or "").startswith(words)


def test_progress_of_repeats_shows_the_mean_as_the_best() -> None:
    record = repeated(values=LACKING)
    trials = record.study.get_trials(deepcopy=False)
    standing = Standing(record.spec, trials[:3])
    end = standing.end_of(trials[2], 0.84, {}, "", 0.0)
    assert end.mean_of == (0, 1, 2)
    assert ending(end, "val_accuracy") == (
        "trial 2: completed, val_accuracy 0.8400; the mean of trials 0, 1, 2 is the best so far: 0.8200"
    )
    stream = StringIO()
    view = LiveView(record.spec, Console(file=stream, width=200))
    view.ended(end)
    view.console.print(view.render())
    assert "best val_accuracy 0.8200 (mean of trials 0, 1, 2)" in stream.getvalue()
    alone = make_record(make_spec({"lr": {"low": 0.1, "high": 1.0}}), [MadeTrial({"lr": 0.2}, 0.8)])
    one = alone.study.get_trials(deepcopy=False)[0]
    assert ending(Standing(alone.spec, [one]).end_of(one, 0.8, {}, "", 0.0), "val_accuracy").endswith("(best so far)")
