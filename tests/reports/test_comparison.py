"""One-factor tables: right figures per level, and honest words about them."""

import csv
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from scipy.stats import studentized_range, tukey_hsd
from scipy.stats import t as student

from cifar_tune.errors import UserError
from cifar_tune.reports import comparison_files
from cifar_tune.reports.comparison import Comparison, compare
from cifar_tune.reports.comparison_files import as_csv, draw, markdown, write
from cifar_tune.storage.attributes import CARRIED_FROM, START_FROM

from .factory import MadeTrial, make_record, make_spec

OPTIMIZER = {"optimizer": {"choices": ["sgd", "adamw", "rmsprop"]}}
FIXED = {"lr": 0.1}
LR = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}


def trials() -> list[MadeTrial]:
    values = {"sgd": [0.5, 0.6, 0.7], "adamw": [0.8]}
    made = [MadeTrial({"optimizer": name}, value) for name, each in values.items() for value in each]
    return [*made, MadeTrial({"optimizer": "adamw"}, 0.1, state="PRUNED", epochs=2)]


def test_figures_per_level() -> None:
    comparison = compare(make_record(make_spec(OPTIMIZER), trials()), "optimizer")
    assert [level.label for level in comparison.levels] == ["sgd", "adamw", "rmsprop"]
    sgd, adamw, rmsprop = comparison.levels
    assert (rmsprop.mean, comparison.best(rmsprop), len(rmsprop.trials)) == (None, None, 0)
    assert comparison.best(sgd) == 0.7
    assert sgd.mean == pytest.approx(0.6)
    assert sgd.half_width == pytest.approx(student.ppf(0.975, 2) * 0.1 / 3**0.5)
    assert (adamw.mean, adamw.half_width) == (0.8, None)
    assert len(adamw.trials) == 2
    assert sgd.seconds == pytest.approx(mean(trial.seconds for trial in sgd.completed))


@pytest.mark.parametrize(
    ("metric", "values", "shown", "ends"),
    [
        ("val_accuracy", [0.1, 0.9, 0.95], "65.00 % (from 0.00 % to 100.00 %)", (0.0, 1.0)),
        ("val_loss", [0.1, 0.9, 0.95], "0.6500 (from 0.0000 to 1.8349)", (0.0, 1.8349)),
        ("val_accuracy", [0.5, 0.6, 0.7], "60.00 % ± 24.84 %", (0.3516, 0.8484)),
    ],
)
def test_an_interval_ends_where_the_objective_does(
    metric: str, values: list[float], shown: str, ends: tuple[float, float]
) -> None:
    made = [MadeTrial({"optimizer": "sgd"}, value) for value in values]
    spec = make_spec(OPTIMIZER, objective={"metric": metric}, sampler={"name": "random"})
    comparison = compare(make_record(spec, made), "optimizer")
    assert f"| {shown} |" in markdown(comparison)
    row = next(csv.DictReader(as_csv(comparison).splitlines()))
    assert (float(row["ci95_low"]), float(row["ci95_high"])) == pytest.approx(ends, abs=1e-4)
    axes = draw(comparison).axes[0]
    drawn = [each.get_segments()[0] for each in axes.collections if isinstance(each, LineCollection)]
    scale = 100 if metric == "val_accuracy" else 1
    assert drawn[0][:, 0] / scale == pytest.approx(ends, abs=1e-4)


def test_best_is_the_lowest_loss() -> None:
    record = make_record(make_spec(OPTIMIZER, objective={"metric": "val_loss"}), trials())
    comparison = compare(record, "optimizer")
    assert comparison.best(comparison.levels[0]) == 0.5


def test_equal_conditions_are_told_from_unequal_ones() -> None:
    alone = compare(make_record(make_spec(OPTIMIZER, train=FIXED), trials()), "optimizer").conditions
    assert alone.startswith("Under equal conditions")
    assert "Fewer than three completed trials: adamw" in alone
    assert "leave out 1 pruned" in alone
    assert "Never tried: rmsprop." in alone
    every = make_record(make_spec(OPTIMIZER, train=FIXED), [*trials(), MadeTrial({"optimizer": "rmsprop"}, 0.5)])
    assert "Never tried" not in compare(every, "optimizer").conditions
    both = make_record(
        make_spec(OPTIMIZER | LR, train={"weight_decay": 0.0}),
        [MadeTrial({"optimizer": "sgd", "lr": 0.1}, 0.5), MadeTrial({"optimizer": "adamw", "lr": 0.2}, 0.5)],
    )
    assert compare(both, "optimizer").conditions.startswith(
        "Not under equal conditions: lr varied at the same time, and"
    )


def test_defaults_that_come_with_a_level_are_named() -> None:
    alone = compare(make_record(make_spec(OPTIMIZER), trials()), "optimizer").conditions
    words = "Not under equal conditions: nothing else was searched, but levels differ in lr (sgd: 0.05, adamw: 0.001)."
    assert alone.startswith(words)
    spec = make_spec(OPTIMIZER | {"seed": {"choices": [0, 1]}}, sampler={"name": "grid"})
    grid = [MadeTrial({"optimizer": name, "seed": seed}, 0.5) for name in ("sgd", "adamw") for seed in (0, 1)]
    words = compare(make_record(spec, grid), "optimizer").conditions
    assert words.startswith("Not under equal conditions: every level that was tried had the same suggestions for seed")
    assert "but they differ in lr (sgd: 0.05, adamw: 0.001)" in words


def test_a_knob_in_proportion_to_the_compared_one_is_named() -> None:
    scaled = {"lr": {"low": 0.01, "high": 0.02, "step": 0.01, "per": "batch_size"}}
    spec = make_spec({"batch_size": {"choices": [32, 128]}, **scaled}, sampler={"name": "grid"})
    grid = [MadeTrial({"batch_size": size, "lr": lr}, 0.5) for size in (32, 128) for lr in (0.01, 0.02)]
    assert (
        "but they differ in lr, which goes with batch_size."
        in compare(make_record(spec, grid), "batch_size").conditions
    )


def test_a_whole_grid_is_fair_and_a_part_of_it_is_not() -> None:
    spec = make_spec(OPTIMIZER | {"seed": {"choices": [0, 1]}}, sampler={"name": "grid"}, train=FIXED)
    grid = [MadeTrial({"optimizer": name, "seed": seed}, 0.5) for name in ("sgd", "adamw") for seed in (0, 1)]
    whole = compare(make_record(spec, grid), "optimizer").conditions
    assert whole.startswith("Under equal conditions: every level that was tried had the same values of seed.")
    part = compare(make_record(spec, grid[:3]), "optimizer").conditions
    assert part.startswith("Not under equal conditions: seed varied at the same time. `best`")
    same_count = [*grid[:3], MadeTrial({"optimizer": "adamw", "seed": 0}, 0.5)]
    assert compare(make_record(spec, same_count), "optimizer").conditions.startswith("Not under equal conditions")


def test_a_range_is_cut_into_parts_of_equal_width_in_its_own_scale() -> None:
    rates = [1e-4, 2e-4, 1e-3, 5e-3, 2e-2, 0.1, 0.5, 1.0]
    record = make_record(make_spec(LR), [MadeTrial({"lr": rate}, 0.5) for rate in rates])
    levels = compare(record, "lr").levels
    assert [len(level.trials) for level in levels] == [2, 1, 2, 1, 2]
    assert levels[0].label == "0.0001 to 0.00063"


def test_few_values_of_a_range_are_levels_themselves() -> None:
    record = make_record(make_spec(LR), [MadeTrial({"lr": rate}, 0.5) for rate in (0.1, 0.01, 0.1)])
    assert [(level.label, len(level.trials)) for level in compare(record, "lr").levels] == [("0.01", 1), ("0.1", 2)]


def test_files(tmp_path: Path) -> None:
    comparison = compare(make_record(make_spec(OPTIMIZER), trials()), "optimizer")
    files = write(comparison, tmp_path / "new")
    assert [file.name for file in files] == [f"compare-optimizer.{end}" for end in ("md", "csv", "png")]
    assert files[2].read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(as_csv(comparison).splitlines()))
    assert rows[0]["level"] == "sgd"
    assert float(rows[0]["mean"]) == pytest.approx(0.6)
    assert (rows[1]["completed"], rows[1]["pruned"], rows[1]["ci95_low"]) == ("1", "1", "")
    assert "| sgd | 3 completed | 70.0 % | 60.0 % | 12 s |" in markdown(comparison)


def test_the_picture_is_written_in_other_formats_too(tmp_path: Path) -> None:
    comparison = compare(make_record(make_spec(OPTIMIZER), trials()), "optimizer")
    files = {file.suffix: file.read_bytes() for file in write(comparison, tmp_path, ["svg", "pdf"])}
    assert list(files) == [".md", ".csv", ".png", ".svg", ".pdf"]
    assert b"<svg" in files[".svg"]
    assert files[".pdf"].startswith(b"%PDF")


def test_the_best_trial_of_a_level_is_drawn_once_and_many_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    record = make_record(make_spec(OPTIMIZER), trials())
    picture = draw(compare(record, "optimizer"))
    marks = [each for each in picture.axes[0].collections if isinstance(each, PathCollection)]
    heights = [float(x) for each in marks for x, _ in np.asarray(each.get_offsets())]
    assert heights.count(70.0) == 1  # the best of the first level
    assert "evenly chosen" not in picture.get_supxlabel()
    monkeypatch.setattr(comparison_files, "MOST_IN_PANEL", 2)
    assert (
        "of each kind at most 2 trials are drawn, evenly chosen" in draw(compare(record, "optimizer")).get_supxlabel()
    )


def test_nothing_completed_is_a_sentence(tmp_path: Path) -> None:
    record = make_record(make_spec(OPTIMIZER), [MadeTrial({"optimizer": "sgd"}, 0.1, state="PRUNED")])
    write(compare(record, "optimizer"), tmp_path)
    assert "0 completed, 1 pruned" in (tmp_path / "compare-optimizer.md").read_text()


@pytest.mark.parametrize(
    ("knob", "words"),
    [
        ("optimiser", "did you mean 'optimizer'"),
        ("epochs", "in all trials; searched: optimizer"),
        ("step_size", "no finished trial took this knob"),
    ],
)
def test_refused(knob: str, words: str) -> None:
    record = make_record(make_spec(OPTIMIZER), trials())
    with pytest.raises(UserError, match=words):
        compare(record, knob)


def test_trials_that_were_never_trained_are_no_worse_ones() -> None:
    spec = make_spec({"width": {"choices": [16, 32]}}, constraints=["parameters <= 1000"])
    made = [MadeTrial({"width": 16}, 0.5, figures={"parameters": 900.0})] * 3
    made.append(MadeTrial({"width": 32}, None, state="PRUNED", epochs=0, reason="infeasible"))
    words = compare(make_record(spec, made), "width").conditions
    assert "Not trained, since their model breaks parameters <= 1000: 1 trial." in words
    assert "Means leave out" not in words


def test_a_knob_that_few_trials_took_is_no_knob_of_all() -> None:
    spec = make_spec(
        {
            "optimizer": {"choices": ["sgd", "lion"]},
            "momentum": {"low": 0.5, "high": 0.99, "when": {"optimizer": "sgd"}},
        }
    )
    made = [MadeTrial({"optimizer": "sgd", "momentum": 0.9}, 0.5), MadeTrial({"optimizer": "lion"}, 0.5)]
    levels = compare(make_record(spec, made), "momentum").levels
    assert [level.label for level in levels] == ["0.9"]
    fixed = make_record(
        make_spec({"optimizer": {"choices": ["sgd", "lion"]}}),
        [MadeTrial({"optimizer": "sgd"}, 0.5), MadeTrial({"optimizer": "lion"}, 0.5)],
    )
    with pytest.raises(UserError, match=r"was 0.9 in the 1 of 2 trials that took it"):
        compare(fixed, "momentum")


def test_an_interval_that_leaves_the_picture_ends_in_an_arrow() -> None:
    made = [MadeTrial({"optimizer": name}, value) for name in ("sgd", "adamw") for value in (0.5, 0.55, 0.6)]
    random_ = {"sampler": {"name": "random"}}
    spec = make_spec(OPTIMIZER, objective={"metric": "val_loss"}, **random_)  # an accuracy has bounds, a loss only one
    calm = draw(compare(make_record(spec, made), "optimizer")).axes[0]
    wild = [*made, *(MadeTrial({"optimizer": "rmsprop"}, value) for value in (0.2, 0.55, 5.0))]
    cut = draw(compare(make_record(spec, wild), "optimizer")).axes[0]
    assert arrows(calm) == []
    low, high = cut.get_xlim()
    assert arrows(cut) == [high]
    ends = [x for lines in cut.collections if isinstance(lines, LineCollection) for x, _ in lines.get_segments()[0]]
    assert low <= min(ends) < max(ends) <= high


def arrows(axes: Axes) -> list[float]:
    """Where marks are triangles: of three corners, and back to the first."""
    marks = [each for each in axes.collections if isinstance(each, PathCollection)]
    triangles = [mark for mark in marks if len(np.asarray(mark.get_paths()[0].vertices)) == 4]
    return [np.asarray(mark.get_offsets())[0, 0] for mark in triangles]


FROM = {"study": "made@1", "number": 0}


@pytest.mark.parametrize(
    ("sampler", "trial"),
    [
        ("tpe", MadeTrial({"optimizer": "sgd"}, 0.5)),
        ("random", MadeTrial({"optimizer": "sgd"}, 0.1, state="PRUNED", epochs=2)),
        ("random", MadeTrial({"optimizer": "sgd"}, 0.5, attrs={START_FROM: 0})),
        ("random", MadeTrial({"optimizer": "sgd"}, 0.5, attrs={CARRIED_FROM: FROM})),
        ("random", MadeTrial({"optimizer": "sgd"}, 0.5, attrs={CARRIED_FROM: FROM | {"sampler": "tpe"}})),
    ],
)
def test_means_of_trials_that_somebody_chose_have_no_interval(sampler: str, trial: MadeTrial) -> None:
    """With TPE alone such an interval holds the truth in a third of all studies."""
    spec = make_spec(OPTIMIZER, sampler={"name": sampler})
    comparison = compare(make_record(spec, [*trials()[:3], trial]), "optimizer")
    assert comparison.interval(comparison.levels[0]) is None
    assert "Means have no intervals: these trials are no random sample" in comparison.conditions
    assert "| mean |" in markdown(comparison)
    assert next(csv.DictReader(as_csv(comparison).splitlines()))["ci95_low"] == ""
    carried = MadeTrial({"optimizer": "sgd"}, 0.5, attrs={CARRIED_FROM: FROM | {"sampler": "qmc"}})
    spec = make_spec(OPTIMIZER, sampler={"name": "random"})
    impartial = compare(make_record(spec, [*trials()[:3], carried]), "optimizer")
    assert impartial.interval(impartial.levels[0]) is not None
    assert "no random sample" not in impartial.conditions


SEEDS = [0.50, 0.55, 0.60, 0.65, 0.70]
"""What the seeds are worth, whatever the optimizer."""


def seeded_grid(**sections: Any) -> Comparison:
    """sgd is 2 points behind adamw on every seed, give or take 0.1; rmsprop as good as adamw."""
    spec = make_spec(
        OPTIMIZER | {"seed": {"choices": [0, 1, 2, 3, 4]}}, sampler={"name": "grid"}, train=FIXED, **sections
    )
    lead = {"adamw": [0.0, 0.001, 0.0, 0.001, 0.0], "rmsprop": [0.0] * 5, "sgd": [-0.02, -0.021, -0.019, -0.02, -0.02]}
    sign = 1 if spec.objective.direction == "maximize" else -1
    grid = [
        MadeTrial({"optimizer": name, "seed": seed}, SEEDS[seed] + sign * each[seed])
        for name, each in lead.items()
        for seed in range(5)
    ]
    return compare(make_record(spec, grid), "optimizer")


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_a_balanced_grid_compares_seed_by_seed(metric: str) -> None:
    """The intervals of the means, five points wide, overlap all the same."""
    comparison = seeded_grid(objective={"metric": metric})
    sgd, adamw, rmsprop = comparison.levels
    assert comparison.leader is adamw
    assert comparison.difference(adamw) is None
    values = np.array([level.values for level in comparison.levels])
    theirs = tukey_hsd(*(values - values.mean(axis=0))).confidence_interval()  # one-way: too many degrees of freedom
    for level, index in ((sgd, 0), (rmsprop, 2)):
        difference, half = comparison.difference(level) or (0.0, 0.0)
        assert difference == pytest.approx((theirs.low[index, 1] + theirs.high[index, 1]) / 2)
        one_way = (theirs.high[index, 1] - theirs.low[index, 1]) / 2
        ratio = studentized_range.ppf(0.95, 3, 8) / studentized_range.ppf(0.95, 3, 12) * (12 / 8) ** 0.5
        assert half == pytest.approx(one_way * ratio, rel=1e-3)
    words = comparison.conditions
    assert "each level against adamw, the best mean, over the same 5 combinations of seed" in words
    assert "Behind it by more than chance: sgd. Not settled: rmsprop." in words
    low, high = comparison.interval(sgd) or (0.0, 0.0)
    assert low < (adamw.mean or 0) < high
    row = next(csv.DictReader(as_csv(comparison).splitlines()))
    assert float(row["difference"]) == pytest.approx(-0.0204 if metric == "val_accuracy" else 0.0204)
    assert float(row["difference_ci95_low"]) < float(row["difference"]) < float(row["difference_ci95_high"])
    shown = "| -2.04 ± 0.11 points |" if metric == "val_accuracy" else "| +0.0204 ± 0.0011 |"
    assert shown in markdown(comparison)
    assert "| best mean |" in markdown(comparison)


def test_accuracies_differ_by_a_hundred_points_at_most() -> None:
    spec = make_spec(OPTIMIZER | {"seed": {"choices": [0, 1]}}, sampler={"name": "grid"}, train=FIXED)
    values = {("sgd", 0): 0.1, ("sgd", 1): 0.9, ("adamw", 0): 0.9, ("adamw", 1): 0.2}
    comparison = compare(
        make_record(
            spec, [MadeTrial({"optimizer": name, "seed": seed}, each) for (name, seed), each in values.items()]
        ),
        "optimizer",
    )
    row = next(csv.DictReader(as_csv(comparison).splitlines()))
    assert (row["difference_ci95_low"], row["difference_ci95_high"]) == ("-1.0", "1.0")
    assert "-5.00 (from -100.00 to +100.00) points" in markdown(comparison)


def test_an_unbalanced_grid_has_no_paired_differences() -> None:
    whole = seeded_grid()
    part = replace(whole, levels=[*whole.levels[:2], replace(whole.levels[2], trials=whole.levels[2].trials[1:])])
    assert (part.paired, part.leader, part.difference(part.levels[0])) == (None, None, None)
    assert "paired" not in markdown(part)
