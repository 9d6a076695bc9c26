import math
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from PIL import Image

from cifar_tune.cli.whole_process import silence_warnings
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.plotting import style, ticks
from cifar_tune.plotting.style import ORANGE
from cifar_tune.reports import history, pareto, slices
from cifar_tune.reports.export import export
from cifar_tune.reports.objective import SCALES, axis_limits, scale_of
from cifar_tune.reports.pictures import PARETO, PICTURES
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_markdown import summary_markdown
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study_spec.metrics import METRICS, Metrics
from cifar_tune.study_spec.specification import StudySpec
from tests.exhaustive import few_of

from .factory import CONDITIONAL, MadeTrial, make_record, make_spec, random_trials

LR = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}
DIVERGED = {
    "val_accuracy": [0.2, 0.1],
    "val_loss": [3.0, math.nan],
    "train_accuracy": [0.2, 0.1],
    "train_loss": [math.inf, 2.0],
}
BOTH = ["random_crop", "horizontal_flip"]
LONG = {
    "augment": {"choices": [[], ["random_crop"], ["horizontal_flip"], BOTH, BOTH[::-1]]},
    "seed": {"low": 0, "high": 2},
    "nesterov": {"choices": [True, False]},
}


def case(name: str) -> StudyRecord:
    spec, five = make_spec(train={"epochs": 5}), make_spec(LR, train={"epochs": 5})
    loss = make_spec(LR, train={"epochs": 2}, objective={"metric": "val_loss"})
    one_epoch, constant = make_spec(LR, train={"epochs": 1}), make_spec({**LR, "width": {"choices": [8]}})
    long = make_spec({**LR, **LONG}, train={"optimizer": "sgd", "epochs": 3})
    cases: dict[str, tuple[StudySpec, Callable[[], list[MadeTrial]]]] = {
        "no trial": (spec, list),
        "one trial": (spec, lambda: random_trials(spec, 1, pruned=0)),
        "one pruned trial": (five, lambda: [MadeTrial({"lr": 0.1}, 0.3, "PRUNED", 1)]),
        "all pruned": (spec, lambda: random_trials(spec, 20, pruned=1)),
        "all failed": (five, lambda: [MadeTrial({"lr": 0.1}, None, "FAIL", 0, "error", "boom")] * 3),
        "one running": (five, lambda: [MadeTrial({"lr": 0.1}, None, "RUNNING", 1, history={"val_accuracy": [0.3]})]),
        "one epoch": (one_epoch, lambda: random_trials(one_epoch, 9)),
        "a constant knob": (constant, lambda: [MadeTrial({"lr": 0.01, "width": 8}, y) for y in (0.5, 0.6, 0.5)]),
        "equal values": (five, lambda: [MadeTrial({"lr": 0.01 * (index + 1)}, 0.5) for index in range(4)]),
        "zero and one": (five, lambda: [MadeTrial({"lr": 0.01}, 0.0), MadeTrial({"lr": 0.02}, 1.0)]),
        "nothing searched": (make_spec({}), lambda: [MadeTrial({}, 0.5), MadeTrial({}, 0.6)]),
        "an enormous loss": (loss, lambda: [*random_trials(loss, 9, pruned=0), MadeTrial({"lr": 0.5}, 1e30, epochs=2)]),
        "an infinite loss": (loss, lambda: [MadeTrial({"lr": 0.5}, 0.5, epochs=2),
                                    MadeTrial({"lr": 0.9}, math.inf, "PRUNED", 2, history=DIVERGED)]),
        "no figures by epoch": (five, lambda: [MadeTrial({"lr": lr}, lr, history={}) for lr in (0.1, 0.2)]),
        "a knob that no trial took": (spec, lambda: [t for t in random_trials(spec, 30) if "momentum" not in t.params]),
        "long names": (long, lambda: random_trials(long, 25)),
    }  # fmt: skip
    own, trials = cases[name]
    return make_record(own, trials())


CASES = (
    "no trial", "one trial", "one pruned trial", "all pruned", "all failed", "one running", "one epoch",
    "a constant knob", "equal values", "zero and one", "nothing searched", "an enormous loss", "an infinite loss",
    "no figures by epoch", "a knob that no trial took", "long names",
)  # fmt: skip


def pixels(path: Path) -> Any:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", few_of(CASES, ["no trial", "one epoch", "an infinite loss", "long names"]))
def test_every_study_has_its_pictures(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record = case(name)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silence_warnings()  # as every command does
        export(record, tmp_path)
    assert capfd.readouterr() == ("", "")
    for picture in PICTURES:
        shown = pixels(tmp_path / picture)
        assert (shown < 200).any(axis=-1).sum() > 200, f"{picture} is empty"
        assert (shown[[0, -1]] > 250).all(), f"{picture} runs over its edge"
        assert (shown[:, [0, -1]] > 250).all(), f"{picture} runs over its edge"


def test_pictures_show_data_not_sentences(drawn: Path) -> None:
    for picture in PICTURES:
        height, width, _ = pixels(drawn / picture).shape
        assert height > 300
        assert width > 700


@pytest.mark.parametrize("picture", ["history.png", "slices.png", "parallel_coordinates.png", "learning_curves.png"])
def test_the_best_trial_stands_out(drawn: Path, picture: str) -> None:
    orange = [int(ORANGE[index : index + 2], 16) for index in (1, 3, 5)]
    assert (np.abs(pixels(drawn / picture).astype(int) - orange).max(axis=-1) < 12).sum() > 30


@pytest.mark.parametrize(("name", "pictures"), [
    ("no trial", list(PICTURES)),
    ("all pruned", ["importance.png", "parallel_coordinates.png"]),
    ("no figures by epoch", ["importance.png", "learning_curves.png", "parallel_coordinates.png"]),
    ("nothing searched", ["importance.png", "slices.png", "parallel_coordinates.png"]),
])  # fmt: skip
def test_what_cannot_be_seen_is_said(name: str, pictures: list[str], tmp_path: Path) -> None:
    report = Report(case(name))
    drawn = {picture: entry.draw(report) for picture, entry in PICTURES.items()}
    unseen = {picture: sentence for picture, sentence in drawn.items() if isinstance(sentence, str)}
    assert set(unseen) == set(pictures)
    text = summary_markdown(report, tmp_path, unseen)
    assert all(sentence in text for sentence in unseen.values())
    assert all((f"({picture})" in text) == (picture not in unseen) for picture in PICTURES)


def test_pictures_of_two_thousand_trials_are_small() -> None:
    """But for that of the importances, which shows no trials."""
    spec = make_spec({**CONDITIONAL, "dropout": {"low": 0.0, "high": 0.5}}, train={"epochs": 20})
    report = Report(make_record(spec, random_trials(spec, 2000)))
    names = PICTURES.keys() - {"importance.png"}
    with style.applied():
        figures = {name: PICTURES[name].draw(report) for name in names}
        sizes = {name: len(style.png(figure)) for name, figure in figures.items() if not isinstance(figure, str)}
    assert sizes.keys() == names
    assert {name: size for name, size in sizes.items() if size > 300_000} == {}


@pytest.mark.parametrize("name", ["long names", "a whole study"])
def test_lines_do_not_cross_labels(name: str, record: StudyRecord) -> None:
    report = Report(record if name == "a whole study" else case(name))
    with style.applied():
        figure = PICTURES["parallel_coordinates.png"].draw(report)
        assert isinstance(figure, Figure)
        style.png(figure)
        axes = figure.axes[0]
        lines = [path for each in axes.collections if isinstance(each, LineCollection) for path in each.get_paths()]
        lines += [line.get_path() for line in axes.lines]
        paths = [line.transformed(axes.transData) for line in lines]
        boxes = {each.get_text(): each.get_window_extent() for each in axes.texts}
        headings = sorted((each.get_window_extent() for each in axes.get_xticklabels()), key=lambda box: box.x0)
    assert len(paths) > len(report.ranked)
    assert [label for label, box in boxes.items() if any(path.intersects_bbox(box) for path in paths)] == []
    assert all(left.x1 < right.x0 for left, right in pairwise(headings))


def test_slices_of_several_objectives_have_panels_for_each() -> None:
    objective = [{"metric": "val_accuracy"}, {"metric": "parameters"}]
    spec = make_spec({**LR, "width": {"choices": [8, 16]}}, train={"epochs": 2}, objective=objective)
    made = [
        MadeTrial({"lr": 0.1, "width": width}, value, epochs=2, figures={"parameters": 1000.0 * width})
        for width, value in ((8, 0.5), (16, 0.6), (16, 0.7))
    ]
    with style.applied():
        figure = PICTURES["slices.png"].draw(Report(make_record(spec, made)))
    assert isinstance(figure, Figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["validation accuracy, last epoch (%)", "", "parameters", ""]
    assert [axes.get_xlabel().split(",")[0] for axes in figure.axes] == ["n = 3", "n: completed trials"] * 2
    heights = [
        sorted(np.concatenate([np.asarray(each.get_offsets())[:, 1] for each in axes.collections]))
        for axes in figure.axes
    ]
    assert heights[2] == heights[3] == [8000, 16_000, 16_000, 16_000]  # the best one twice


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("history.png", "completed (19 of 91)"),
        ("pareto.png", "completed (18 of 90)"),
        ("slices.png", "of each kind at most 20 trials are drawn, evenly chosen"),
    ],
)
def test_dots_of_many_trials_are_thinned_evenly(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objective = [{"metric": "val_accuracy"}, {"metric": "parameters"}]
    spec = make_spec(LR, train={"epochs": 2}, objective=objective)
    made = [MadeTrial({"lr": 0.01}, 0.5 + n / 1000, epochs=2, figures={"parameters": 1e4 + n}) for n in range(90)]
    report = Report(make_record(spec, [*made, MadeTrial({"lr": 0.2}, 0.9, epochs=2, figures={"parameters": 10.0})]))
    draw = {**PICTURES, **PARETO}[name].draw

    def drawn() -> tuple[int, str]:
        with style.applied():
            figure = draw(report)
        assert isinstance(figure, Figure)
        texts = [each.get_text() for legend in figure.legends for each in legend.get_texts()]
        dots = max(len(np.asarray(each.get_offsets())) for each in figure.findobj(PathCollection))
        return dots, " ".join([figure.get_supxlabel(), *texts])

    count, said = drawn()
    assert count >= 90
    assert words not in said
    for module in (history, pareto, slices):
        few = partial(ticks.thinned, most=20)
        monkeypatch.setattr(module, "thinned", lambda marks, *_, few=few: few(marks))
    monkeypatch.setattr(slices, "MOST_IN_PANEL", 20)
    count, said = drawn()
    assert count <= 20
    assert words in said


def test_dots_of_a_kind_are_left_out_evenly() -> None:
    assert list(ticks.thinned(range(10), 4)) == [0, 3, 6, 9]
    assert list(ticks.thinned(range(4), 4)) == [0, 1, 2, 3]
    assert list(ticks.thinned([], 4)) == []
    assert ticks.thinned_words([range(4), []], 4) == ""


def test_numbers_of_the_front_do_not_cover_each_other() -> None:
    objective = [{"metric": "val_accuracy"}, {"metric": "parameters"}]
    spec = make_spec(LR, train={"epochs": 2}, objective=objective)
    near = [(0.9, 1000.0), (0.9001, 1001.0), (0.9002, 1002.0), (0.5, 10.0)]
    record = make_record(spec, [MadeTrial({"lr": 0.1}, y, epochs=2, figures={"parameters": x}) for y, x in near])
    with style.applied():
        figure = PARETO["pareto.png"].draw(Report(record))
        assert isinstance(figure, Figure)
        style.png(figure)
        boxes = [each.get_window_extent() for each in figure.axes[0].texts]
    assert len(boxes) == 2
    assert not boxes[0].overlaps(boxes[1])


def test_every_metric_has_a_scale() -> None:
    assert set(SCALES) == set(METRICS)
    assert all(scale.is_share == (METRICS[name].direction == "maximize") for name, scale in SCALES.items())
    labels = {name: scale_of(name, BUILT_IN).axis_label for name in Metrics()}
    assert len(set(labels.values())) == len(labels)
    assert labels["best_val_top5_accuracy"] == "validation top-5 accuracy, best epoch (%)"
    assert labels["val_balanced_accuracy"] == "validation balanced accuracy, last epoch (%)"
    assert scale_of("val_macro_f1", BUILT_IN).shown(0.54321) == "0.5432"


@pytest.mark.parametrize(
    ("images", "accuracy", "loss"),
    [(None, "91.23 %", "0.3457"), (100, "91.2 %", "0.346"), (360, "91.2 %", "0.346"), (5000, "91.2 %", "0.346"),
     (50_000, "91.23 %", "0.3457")],
)  # fmt: skip
def test_figures_have_the_digits_that_their_images_allow(images: int | None, accuracy: str, loss: str) -> None:
    assert SCALES["val_accuracy"].rounded_for(images).shown(0.912345) == accuracy
    assert SCALES["val_loss"].rounded_for(images).shown(0.345678) == loss
    assert SCALES["parameters"].rounded_for(images).shown(268_650.0) == "268,650"
    assert SCALES["seconds_per_epoch"].rounded_for(images).shown(12.3456) == "12.3"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(21.0, "21.0"), (3.0999, "3.10"), (0.012345, "0.0123"), (99.97, "100"), (123.4, "123"), (12_345.6, "12,346")],
)
def test_times_have_three_digits_each(seconds: float, words: str) -> None:
    assert SCALES["seconds_per_epoch"].shown(seconds) == words


def test_axes_are_in_percent_and_leave_out_what_nearly_diverged() -> None:
    accuracy, loss = SCALES["val_accuracy"], SCALES["val_loss"]
    assert accuracy.on_axis(0.5) == 50
    assert accuracy.axis_label.endswith("(%)")
    assert loss.on_axis(0.5) == 0.5
    low, high = axis_limits([10.0, 50.0, 90.0], accuracy)
    assert low < 10
    assert 90 < high <= 102
    low, high = axis_limits([0.5, 0.6, 0.7, 1e6], loss)
    assert low < 0.5
    assert 0.7 < high < 2


def test_threads_that_draw_at_once_leave_each_other_the_style() -> None:
    """Matplotlib has one style for a whole process: who leaves first would take it from the other."""
    plain = mpl.rcParams["axes.edgecolor"]
    first_is_in, second_comes, first_is_out = threading.Event(), threading.Event(), threading.Event()
    seen = set()

    def first() -> None:
        with style.applied():
            first_is_in.set()
            second_comes.wait()
            for _ in range(10_000):  # time for the second to come in, if it may
                seen.add(mpl.rcParams["axes.edgecolor"])
        first_is_out.set()

    def second() -> None:
        first_is_in.wait()
        second_comes.set()
        with style.applied():
            first_is_out.wait()
            seen.add(mpl.rcParams["axes.edgecolor"])

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(first), threads.submit(second)]:
            done.result()
    assert seen == {"#B4BAC2"}
    assert mpl.rcParams["axes.edgecolor"] == plain
