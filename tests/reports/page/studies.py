"""Studies of every kind that the page must show."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from cifar_tune.reports.page.anchors import MOST_ROWS
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.report import Report
from cifar_tune.storage.openings import Opening, write_opening
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.study_spec.specification import StudySpec
from tests.reports.factory import (
    CONDITIONAL,
    OPENING,
    RESULT,
    MadeTrial,
    analysed_opening,
    make_record,
    make_spec,
    random_trials,
)

LR = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}
HOSTILE = "</script><script>window.broken=1</script><img src=x onerror='window.broken=1'>&lt;\"'{{ 7 * 7 }}"


TESTED: Mapping[str, Sequence[Opening]] = {
    "tested": [analysed_opening(finished_trials=30)],
    "tested three times": [
        RESULT,
        OPENING,
        analysed_opening(30, trial=None, chosen="config", source="studies/own.yaml"),
    ],
}
"""Studies of thirty trials whose test set was opened."""


@cache
def made(name: str) -> StudyRecord:
    """The study of a case; no test changes it."""
    spec, five = make_spec(train={"epochs": 6}), make_spec(LR, train={"epochs": 5})
    loss = make_spec(LR, train={"epochs": 3}, objective={"metric": "val_loss"})
    two = make_spec(
        CONDITIONAL, train={"epochs": 6}, objective=[{"metric": "val_accuracy"}, {"metric": "parameters"}],
        constraints=["val_accuracy >= 0.5"],
    )  # fmt: skip
    three = make_spec(
        CONDITIONAL, train={"epochs": 2},
        objective=[{"metric": "val_accuracy"}, {"metric": "flops"}, {"metric": "seconds_per_epoch"}],
    )  # fmt: skip
    impossible = make_spec(LR, train={"epochs": 2}, constraints=["val_accuracy >= 0.99"])
    cases: dict[str, tuple[StudySpec, Callable[[], list[MadeTrial]]]] = {
        "no trial": (spec, list),
        "one trial": (spec, lambda: random_trials(spec, 1, pruned=0)),
        "thirty trials": (spec, lambda: random_trials(spec, 30)),
        "more trials than rows": (spec, lambda: random_trials(spec, MOST_ROWS + 100)),
        "all pruned": (spec, lambda: random_trials(spec, 30, pruned=1)),
        "all failed": (five, lambda: [MadeTrial({"lr": 0.1}, None, "FAIL", 0, "error", HOSTILE)] * 3),
        "one running": (five, lambda: [MadeTrial({"lr": 0.1}, None, "RUNNING", 1, history={"val_accuracy": [0.3]})]),
        "two objectives": (two, lambda: random_trials(two, 120)),
        "three objectives": (three, lambda: random_trials(three, 40, pruned=0)),
        "a loss": (loss, lambda: random_trials(loss, 60)),
        "equal values": (five, lambda: [MadeTrial({"lr": 0.01 * (index + 1)}, 0.5) for index in range(20)]),
        "nothing searched": (make_spec({}), lambda: [MadeTrial({}, 0.5), MadeTrial({}, 0.6)]),
        "no constraint kept": (impossible, lambda: random_trials(impossible, 12, pruned=0)),
        "no figures by epoch": (five, lambda: [MadeTrial({"lr": lr}, lr, history={}) for lr in (0.1, 0.2)]),
    }
    if name not in TESTED:
        own, trials = cases[name]
        return make_record(own, trials())
    record = make_record(spec, random_trials(spec, 30))
    for index, opening in enumerate(TESTED[name]):
        write_opening(record.study, index, opening)
    return load_record(record.study._storage, record.name)


CASES = (
    "no trial", "one trial", "thirty trials", "more trials than rows", "all pruned", "all failed", "one running",
    "two objectives", "three objectives", "a loss", "equal values", "nothing searched", "no constraint kept",
    "no figures by epoch", "tested", "tested three times",
)  # fmt: skip


@cache
def page_of(name: str) -> str:
    """Its report.html."""
    return report_html(Report(made(name)), Path("reports/made"))
