"""What the report says of openings of the test split."""

import math
import re
from dataclasses import replace

import pytest

from cifar_tune import __version__
from cifar_tune.cli.opening_lines import result_lines
from cifar_tune.errors import UserError
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_markdown import test_set as section
from cifar_tune.reports.trust import fall, trust_words
from cifar_tune.storage.openings import Opening, read_openings, write_opening
from cifar_tune.storage.records import StudyRecord, load_record

from .factory import MadeTrial, make_record, make_spec

SPACE = {"lr": {"low": 0.01, "high": 1.0}}
OPENING = Opening(
    opened="2025-03-01T12:00:00+00:00",
    host="here",
    cifar_tune="0.1.0",
    fingerprint="ab" * 32,
    trial=0,
    value=0.8,
    finished_trials=1,
    config={"lr": 0.1, "augment": "none"},
    seed=0,
    epochs=15,
    train_images=50_000,
    device="cpu",
    precision="fp32",
)
RESULT = replace(OPENING, test_images=10_000, test_loss=0.5, test_accuracy=0.9)


def opened(*openings: Opening, values: tuple[float, ...] = (0.8,)) -> StudyRecord:
    trials = [MadeTrial({"lr": 0.1}, value, epochs=15) for value in values]
    record = make_record(make_spec(SPACE), trials)
    for index, opening in enumerate(openings):
        write_opening(record.study, index, opening)
    return load_record(record.study._storage, record.name)


def test_openings_are_read_as_they_were_written() -> None:
    record = opened(RESULT, OPENING, RESULT)
    assert list(record.openings) == [RESULT, OPENING, RESULT]
    write_opening(record.study, 2, None)
    assert read_openings(record.study.user_attrs) == [RESULT, OPENING]
    assert read_openings({}) == []


def test_a_test_set_that_was_not_opened_has_no_section() -> None:
    assert section(Report(opened())) == []


def test_one_opening() -> None:
    heading, words, table = section(Report(opened(RESULT)))
    assert heading == "## Test set"
    assert words.startswith("The test set was opened **once**")
    assert "best one by now" not in words
    assert "optimistic" not in words
    row = "| 2025-03-01T12:00:00+00:00 | 0 | 15 | 50,000 | 10,000 | 0.5000 | 90.00 % | 89.40 to 90.57 % |"
    assert table.splitlines()[-1] == row


def test_a_study_that_went_on_after_it_was_opened() -> None:
    _, words, _ = section(Report(opened(RESULT, RESULT, values=(0.8, 0.7, 0.9))))
    assert "opened **twice**" in words
    assert "Trials that have finished since: 2." in words
    assert "**Trial 2 is the best one by now, and was not tested.**" in words
    assert "optimistic" in words


@pytest.mark.parametrize(
    ("opening", "cells"),
    [
        (OPENING, "| - | - | result lost | - |"),
        (replace(RESULT, test_loss=None), "| 10,000 | not finite | 90.00 % | 89.40 to 90.57 % |"),
    ],
)
def test_an_opening_without_all_figures(opening: Opening, cells: str) -> None:
    assert section(Report(opened(opening)))[2].endswith(cells)


def test_all_test_images_right_is_no_certainty() -> None:
    perfect = replace(RESULT, test_images=299, test_accuracy=1.0)
    assert section(Report(opened(perfect)))[2].endswith("| 100.00 % | 98.73 to 100.00 % |")


def test_the_fall_from_validation_to_test_is_said() -> None:
    better = replace(RESULT, test_accuracy=0.79)
    assert fall(opened(), OPENING) is None
    found = fall(opened(better), better)
    assert found == pytest.approx((0.01, math.hypot((0.16 / 5000) ** 0.5, (0.79 * 0.21 / 10_000) ** 0.5)))
    words = trust_words(Report(opened(better)))
    assert "trial 0 had 80.00 % on the validation images, and its configuration 79.00 % on the test images" in words
    assert "1.00 points lower (standard error 0.70 points" in words
    assert "10.00 points higher" in trust_words(Report(opened(RESULT)))
    assert "Measured optimism" not in trust_words(Report(opened(OPENING)))
    assert "validation_minus_test=0.01" in "\n".join(result_lines(opened(better)))
    assert "validation_minus_test" not in "\n".join(result_lines(opened(OPENING)))


def test_a_trial_that_breaks_a_constraint_is_not_called_the_best() -> None:
    """Where none keeps them, nothing is: not even the first of the others."""
    spec = make_spec(SPACE, constraints=["val_accuracy >= 0.9"])
    record = make_record(spec, [MadeTrial({"lr": 0.1}, value, epochs=15) for value in (0.8, 0.85)])
    write_opening(record.study, 0, RESULT)
    assert "best one by now" not in section(Report(load_record(record.study._storage, record.name)))[1]


def test_an_opening_of_a_newer_version_is_refused_by_its_version() -> None:
    record = opened(RESULT)
    newer = {**RESULT.plain(), "cifar_tune": "9.9", "views": 6}
    record.study.set_user_attr("test_opening_2", newer)
    refusal = rf"test_opening_2: was written by cifar-tune 9\.9, and cifar-tune {re.escape(__version__)} cannot read it"
    with pytest.raises(UserError, match=refusal):
        read_openings(record.study.user_attrs)
    for broken in ({"opened": "now"}, [1], "x"):
        with pytest.raises(UserError, match="was written by another version of cifar-tune"):
            read_openings({"test_opening_1": broken})
