"""What early epochs told about last ones, and what became of the trials that the pruner would have stopped."""

from pathlib import Path

import pytest

from cifar_tune.reports.findings import sparing_words
from cifar_tune.reports.page.page import report_html
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_markdown import summary_markdown
from cifar_tune.storage import attributes

from .factory import MadeTrial, make_record, make_spec

SPACE = {"lr": {"low": 0.01, "high": 1.0}}


def of(curves: list[list[float]], **sections: object) -> Report:
    """A study of completed trials with these values after each epoch."""
    trials = [
        MadeTrial({"lr": 0.01 * (index + 1)}, curve[-1], epochs=len(curve), history=history(curve))
        for index, curve in enumerate(curves)
    ]
    return Report(make_record(make_spec(SPACE, **sections), trials))


def history(curve: list[float]) -> dict[str, list[float]]:
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")
    return {name: list(curve) for name in names}


def test_the_order_shows_from_where_the_curves_do_not_cross() -> None:
    """After epoch 1 the order is the reverse, after epoch 2 it is that of the end."""
    curves = [[0.5 - 0.01 * i, 0.5 + 0.01 * i, 0.6 + 0.01 * i, 0.7 + 0.01 * i] for i in range(12)]
    found = of(curves).early_epochs
    assert found is not None
    assert (found.trials, found.epochs) == (12, 4)
    by_epoch = {each.epoch: each for each in found.agreements}
    assert by_epoch[1].correlation == pytest.approx(-1)
    assert (by_epoch[2].correlation, by_epoch[2].low, by_epoch[2].high) == pytest.approx((1, 1, 1))


def test_without_agreement_the_resamples_reach_far() -> None:
    early = [0.3, 0.1, 0.4, 0.15, 0.9, 0.26, 0.5, 0.35, 0.8, 0.97]
    found = of([[value, 0.5 + 0.01 * i] for i, value in enumerate(early)]).early_epochs
    assert found is not None
    first = found.agreements[0]
    assert first.low < first.correlation < first.high
    assert first.high - first.low > 0.3


@pytest.mark.parametrize(
    "curves",
    [
        [[0.1, 0.2]] * 7,
        [[0.1 * i] for i in range(9)],
        [[0.1 * i, 0.5] for i in range(9)],
        [[0.1, 0.1 * i] for i in range(9)],
    ],
    ids=["too few", "one epoch", "all end alike", "all begin alike"],
)
def test_where_nothing_can_be_said_nothing_is_said(curves: list[list[float]]) -> None:
    report = of(curves)
    assert report.early_epochs is None
    assert "ank correlation" not in summary_markdown(report, Path("made"), {})


def test_it_stands_in_the_summary_and_on_the_page() -> None:
    report = of([[0.1 + 0.01 * i, 0.2 + 0.02 * i, 0.3 + 0.03 * i] for i in range(9)])
    assert "epochs, over 9 completed trials: 1.00 after epoch 1" in summary_markdown(report, Path("made"), {})
    assert "How early the order shows" in report_html(report, Path("reports/made"))


@pytest.mark.parametrize(
    ("spared", "words"),
    [
        ([], ""),
        ([0.5], "1 of the trials that the pruner would have stopped was trained to the end on purpose; the best "
                "of them is trial 3 with 50.0 %, in place 3 among the 3 trials that it let through"),
        ([0.3, 0.9], "2 of the trials that the pruner would have stopped were trained to the end on purpose; the "
                     "best of them is trial 4 with 90.0 %, better than every trial that it let through"),
    ],
)  # fmt: skip
def test_what_became_of_the_spared(spared: list[float], words: str) -> None:
    trials = [MadeTrial({"lr": 0.1}, value) for value in (0.4, 0.6, 0.8)]
    trials += [MadeTrial({"lr": 0.1}, value, attrs={attributes.SPARED_AT: 2}) for value in spared]
    assert sparing_words(Report(make_record(make_spec(SPACE), trials))) == words
