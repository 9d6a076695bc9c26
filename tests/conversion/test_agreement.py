"""Where a file counts as equal to its model, and where it does not."""

import numpy as np
import pytest

from cifar_tune.conversion.agreement import BOUNDS, Bounds, Logits, accuracy, compare

MODEL = np.array([[2.0, 1.0], [0.5, 4.0], [3.0, 2.999]], dtype=np.float32)


def test_differences_are_found() -> None:
    found = compare(MODEL, MODEL + np.array([[0, 1.5], [0, 0], [0, 0]], dtype=np.float32))
    assert (found.images, found.difference, found.largest) == (3, 1.5, 4.0)
    assert found.equal_classes == pytest.approx(2 / 3)


def test_a_tie_is_no_other_class() -> None:
    """0.001 of the largest logit is 0.004; rounding may change any logit by that."""
    found = compare(MODEL, MODEL + np.array([[0, 0], [0, 0], [0, 0.002]], dtype=np.float32))
    assert found.equal_classes == 1
    assert found.broken(BOUNDS["fp32"]) is None


@pytest.mark.parametrize(
    ("converted", "words"),
    [
        (MODEL + np.float32(0.005), "a logit differs by 0.005, and at most 0.004 is allowed"),
        (MODEL * np.float32("nan"), "a logit differs by nan, and at most 0.004 is allowed"),
    ],
)
def test_a_bound_that_is_broken_is_named(converted: Logits, words: str) -> None:
    assert compare(MODEL, converted).broken(BOUNDS["fp32"]) == words


def test_other_classes_break_a_bound() -> None:
    said = compare(MODEL, MODEL[:, ::-1]).broken(Bounds(difference=1, equal_classes=0.9))
    assert said == "33.33% of 3 images get the same class, and at least 90.0% must"


def test_accuracy() -> None:
    assert accuracy(MODEL, np.array([0, 1, 1])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("after", "images"), [(0.88, 1000), (0.8, 10), (0.95, 1000)])
def test_a_little_accuracy_may_be_lost_and_always_one_image(after: float, images: int) -> None:
    assert BOUNDS["int8"].broken_by_accuracy(0.9, after, images) is None


def test_more_may_not() -> None:
    said = BOUNDS["int8"].broken_by_accuracy(0.9, 0.879, 1000)
    assert said == (
        "the accuracy on 1,000 validation images falls from 0.9000 to 0.8790, and it may fall by 0.02 at most"
    )
