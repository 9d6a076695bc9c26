"""Where lines, dots, labels and rows of a page come to stand, in studies that are made for that."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from cifar_tune.plotting.ticks import apart
from cifar_tune.reports.page.anchors import MOST_ROWS
from cifar_tune.reports.page.curves import parts_below
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.page.timeline import Span, lanes
from cifar_tune.reports.report import Report
from tests.reports.factory import MadeTrial, make_record, make_spec, random_trials

from .parsed import Page
from .studies import made


@pytest.mark.slow
def test_long_studies_stay_light_and_say_what_they_leave_out() -> None:
    spec = make_spec(train={"epochs": 6})
    text = report_html(Report(make_record(spec, random_trials(spec, 10_000))), Path("x"))
    shown = Page(text)
    assert len(text) < 2_500_000
    rows = [attrs for attrs in shown.all("tr") if str(attrs.get("id")).startswith("trial-")]
    assert len(rows) == MOST_ROWS
    assert f"{MOST_ROWS:,} of 10,000" in shown.text
    targets = {f"#{row['id']}" for row in rows}
    assert {link["href"] for link in shown.all("a") if str(link["href"]).startswith("#trial-")} <= targets


def test_a_large_objective_that_is_always_the_same() -> None:
    """Its contours have no levels to tell apart, which is no reason to write nothing."""
    space = {"lr": {"low": 1e-4, "high": 1.0, "log": True}, "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True}}
    spec = make_spec(space, train={"epochs": 2}, objective=[{"metric": "flops"}, {"metric": "val_accuracy"}])
    figures, history = {"val_accuracy": 0.5, "flops": 4e8}, {"val_accuracy": [0.4, 0.5]}
    searched = [{"lr": 0.001 * (n + 1), "weight_decay": 1e-5 * (n + 1)} for n in range(60)]
    trials = [MadeTrial(each, 4e8, figures=figures, history=history) for each in searched]
    assert "Two knobs at a time" in report_html(Report(make_record(spec, trials)), Path("x"))


def test_a_line_that_leaves_the_picture_is_cut_where_it_leaves_it() -> None:
    points = [(1.0, 9.0), (2.0, 5.0), (3.0, 1.0), (4.0, 2.0), (5.0, 4.0), (6.0, 4.0), (7.0, 0.0)]
    assert parts_below(points, 3.0) == [
        [(2.5, 3.0), (3.0, 1.0), (4.0, 2.0), (4.5, 3.0)],
        [(6.25, 3.0), (7.0, 0.0)],
    ]
    assert parts_below(points, 10.0) == [points]
    assert parts_below(points[:2], 3.0) == []


def test_a_trial_of_one_epoch_is_a_ring() -> None:
    spec = make_spec({"lr": {"low": 1e-4, "high": 1.0, "log": True}}, train={"epochs": 5})
    stopped = [MadeTrial({"lr": 0.1}, 0.3, "PRUNED", epochs) for epochs in (1, 3)]
    text = report_html(Report(make_record(spec, [MadeTrial({"lr": 0.1}, 0.5), *stopped])), Path("reports/made"))
    drawn = re.findall(r'class="curve val pruned-curve" d="([^"]*)"', text)
    assert ["a" in each for each in drawn] == [True, False] * 4  # accuracy and loss, each for a wide and a narrow page


def test_labels_do_not_cover_each_other() -> None:
    assert apart([10.0, 40.0, 90.0], 0, 100, 14) == [10, 40, 90]
    assert apart([50.0, 51.0, 52.0], 0, 100, 14) == [50, 64, 78]
    assert apart([97.0, 98.0, 99.0], 0, 100, 14) == [72, 86, 100]


def test_trials_of_a_device_that_ran_at_the_same_time_have_lanes_of_their_own() -> None:
    trial = made("one trial").trials[0]
    times = [(0, 10), (1, 5), (2, 3), (3, 9), (5, 8), (9, 12), (10, 11)]
    found = [Span(trial, "cpu", datetime(2025, 1, 1, 0, start), datetime(2025, 1, 1, 0, end)) for start, end in times]
    assert [lane for _, lane in lanes(found)] == [0, 1, 2, 2, 1, 1, 2]


def test_known_objectives_of_trials_without_values_stand_in_the_table_once() -> None:
    spec = make_spec(
        {"width": {"choices": [8, 32]}},
        train={"epochs": 4},
        objective=[{"metric": "val_accuracy"}, {"metric": "parameters"}],
        constraints=["parameters <= 50000"],
    )
    large = MadeTrial({"width": 32}, None, "PRUNED", 0, "infeasible", figures={"parameters": 90_000})
    trials = [MadeTrial({"width": 8}, 0.5, epochs=4, figures={"parameters": 40_000}), large]
    text = report_html(Report(make_record(spec, trials)), Path("reports/made"))
    table = text[text.index('<section id="trials">') :]
    assert table[: table.index("</thead>")].count("parameters") == 1
    assert re.findall(r"<td[^>]*>([^<]*)</td>", table[table.index('id="trial-1"') :])[2:4] == ["-", "90,000"]
