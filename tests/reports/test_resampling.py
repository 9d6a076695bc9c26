import random
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from cifar_tune.reports import importance_chance
from cifar_tune.reports.importance_chance import (
    MOST_TRIALS,
    RESAMPLES,
    SHUFFLES,
    Chance,
    Spread,
    chance,
    spread,
)
from cifar_tune.reports.importances import Importances, importances, share_words
from cifar_tune.reports.pictures import PICTURES
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_markdown import summary_markdown
from cifar_tune.storage.records import StudyRecord

from .factory import make_record, make_spec, random_trials

SPEC = make_spec(train={"epochs": 3})


def both(record: StudyRecord) -> tuple[Importances, Spread]:
    found = importances(record)
    assert isinstance(found, Importances)
    around = spread(record, found)
    assert around is not None
    return found, around


def test_intervals_lie_in_a_share_and_shrink_with_more_trials() -> None:
    (_, few), (found, many) = (both(make_record(SPEC, random_trials(SPEC, count, pruned=0))) for count in (40, 400))
    assert set(many.intervals) == set(found.shares)
    assert all(0 <= low <= high <= 1 for low, high in (*few.intervals.values(), *many.intervals.values()))
    assert max(found.shares, key=lambda name: found.shares[name]) == "lr"

    def width(each: Spread) -> float:
        return sum(high - low for low, high in each.intervals.values())

    assert width(many) < width(few)
    assert many.intervals["lr"][0] > max(high for name, (_, high) in many.intervals.items() if name != "lr") / 2


def test_it_says_on_how_much_it_rests_and_is_the_same_every_time() -> None:
    record = make_record(SPEC, random_trials(SPEC, 700, pruned=0))
    found, around = both(record)
    assert (around.resamples, around.trials) == (RESAMPLES, MOST_TRIALS)
    assert around.completed == found.completed > MOST_TRIALS
    assert around == spread(record, found)
    assert all(low <= found.shares[name] <= high for name, (low, high) in around.intervals.items())


def test_several_objectives_have_intervals_too() -> None:
    spec = make_spec(train={"epochs": 2}, objective=[{"metric": "val_accuracy"}, {"metric": "parameters"}])
    found, around = both(make_record(spec, random_trials(spec, 50, pruned=0)))
    assert set(around.intervals) == set(found.shares)


def test_few_trials_have_none() -> None:
    record = make_record(SPEC, random_trials(SPEC, 8, pruned=0))
    found = importances(record)
    assert isinstance(found, Importances)
    assert spread(record, found) is None


def test_the_picture_and_the_summary_show_the_intervals(tmp_path: Path) -> None:
    record = make_record(SPEC, random_trials(SPEC, 40, pruned=0))
    found, around = both(record)
    figure = PICTURES["importance.png"].draw(Report(record))
    assert isinstance(figure, Figure)
    [lines] = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    ends = [tuple(point[0] for point in segment) for segment in cast("list[Any]", lines.get_segments())]
    assert ends == [tuple(end * 100 for end in around.intervals[name]) for name in found.shares]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [f"{name}   {share_words(share)}" for name, share in found.shares.items()]
    assert not figure.axes[0].texts  # beside the ends of the lines a share would be read as another value
    left, right = figure.axes[0].get_xlim()
    assert all(left <= end <= right for pair in ends for end in pair)
    assert around.words in figure.get_supxlabel().replace("\n", " ")
    text = summary_markdown(Report(record), tmp_path, {})
    by_chance = chance(record, found)
    assert by_chance is not None
    assert f"{around.words}." in text
    assert f"{by_chance.words}. {by_chance.verdict(found)}" in text
    assert "| knob | share | in 90 % of resamples | by chance up to |" in text
    for name, (low, high) in around.intervals.items():
        cells = f"{share_words(found.shares[name])} | {low * 100:.0f} to {high * 100:.0f} %"
        assert f"| `{name}` | {cells} | {share_words(by_chance.marks[name])} |" in text
    diamonds = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    at = {float(x) for line in diamonds for x in cast("Any", line.get_xdata())}
    assert at == {mark * 100 for mark in by_chance.marks.values() if mark * 100 <= right}
    assert by_chance.verdict(found).removesuffix(".") in figure.get_supxlabel().replace("\n", " ")


def test_the_picture_and_the_summary_of_few_trials_show_none(tmp_path: Path) -> None:
    report = Report(make_record(SPEC, random_trials(SPEC, 8, pruned=0)))
    figure = PICTURES["importance.png"].draw(report)
    assert isinstance(figure, Figure)
    assert not figure.axes[0].collections
    text = summary_markdown(report, tmp_path, {})
    assert "| knob | share |\n" in text
    assert "interval" not in text.split("## Importance")[1].split("## ")[0]


def test_words_say_where_resamples_are_smaller_than_the_study() -> None:
    of_few = Spread({}, resamples=100, trials=40, completed=40).words
    assert of_few == "how far the shares varied in 90 of 100 resamples of these trials"
    assert Spread({}, resamples=100, trials=500, completed=700).words.endswith("resamples of 500 of these trials")


def test_a_knob_that_matters_is_above_chance_and_the_others_are_not() -> None:
    record = make_record(SPEC, random_trials(SPEC, 80, pruned=0))
    found, _ = both(record)
    by_chance = chance(record, found)
    assert by_chance is not None
    assert (by_chance.shuffles, by_chance.passed(found)) == (SHUFFLES, ["lr"])
    assert by_chance.verdict(found) == "Above chance: lr; the others cannot be told from it."
    assert by_chance == chance(record, found), "the same every time"
    assert chance(make_record(SPEC, random_trials(SPEC, 8, pruned=0)), found) is None


def test_where_nothing_matters_no_knob_is_told_from_chance() -> None:
    """Although the largest share is 45 to 54 % in the mean of such studies."""
    draw = random.Random(3)  # noqa: S311
    trials = [replace(trial, value=draw.random(), history={}) for trial in random_trials(SPEC, 60, pruned=0)]
    record = make_record(SPEC, trials)
    found, _ = both(record)
    by_chance = chance(record, found)
    assert by_chance is not None
    assert max(found.shares.values()) > 0.3
    assert by_chance.verdict(found) == "No knob can be told from chance."


def test_marks_of_a_long_study_are_those_of_all_its_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are computed from fewer, and scaled down."""
    spec = make_spec(
        {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "width": {"choices": [16, 32, 64]}}, train={"epochs": 1}
    )
    record = make_record(spec, random_trials(spec, 900, pruned=0))
    found, _ = both(record)
    by_chance = chance(record, found)
    monkeypatch.setattr(importance_chance, "MOST_TRIALS", 900)
    whole = chance(record, found)
    assert by_chance is not None
    assert whole is not None
    for name, mark in whole.marks.items():
        assert 0.6 < by_chance.marks[name] / mark < 1.8


def test_verdicts() -> None:
    found = Importances({"lr": 0.7, "width": 0.3}, 100, 10)
    assert Chance({"lr": 0.1, "width": 0.1}, 100).verdict(found) == "Above chance: lr, width; that is all of them."
    assert Chance({"lr": 1.8, "width": 0.9}, 100).verdict(found) == "No knob can be told from chance."
