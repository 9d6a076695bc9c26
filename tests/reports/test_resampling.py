from pathlib import Path
from typing import Any, cast

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from cifar_tune.reports.importances import MOST_TRIALS, RESAMPLES, Importances, Spread, importances, spread
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
    left, right = figure.axes[0].get_xlim()
    assert all(left <= end <= right for pair in ends for end in pair)
    assert around.words in figure.get_supxlabel().replace("\n", " ")
    text = summary_markdown(Report(record), tmp_path, {})
    assert f"{around.words}." in text
    assert "| knob | share | 90 % interval |" in text
    for name, (low, high) in around.intervals.items():
        assert f"| `{name}` | {found.shares[name] * 100:.1f} % | {low * 100:.1f} to {high * 100:.1f} % |" in text


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
    assert of_few == "90 % intervals: where the shares lay in 90 of 100 resamples of these trials"
    assert Spread({}, resamples=100, trials=500, completed=700).words.endswith("resamples of 500 of these trials")
