import math
import random
from collections.abc import Callable

import pytest

from cifar_tune.insight.lr_range import BETA, LrRangeTest, LrStep, MovingMean, Stop, growing_lrs
from cifar_tune.insight.lr_suggestion import suggest


def made(loss: Callable[[float], float], noise: float = 0.0, stop: Stop = "end", high: float = 10.0) -> LrRangeTest:
    """A test whose losses are a function of log10(lr), with normal noise."""
    mean, draw = MovingMean(BETA), random.Random(0)  # noqa: S311
    steps = []
    for lr in growing_lrs(1e-5, high, 284):
        value = loss(math.log10(lr)) + draw.gauss(0, noise)
        steps.append(LrStep(lr, value, mean.add(value)))
    return LrRangeTest(tuple(steps), stop)


def valley(place: float) -> float:
    """2.3 up to 1e-3, falling to 1.3 at 1e-1, then rising."""
    if place < -3:
        return 2.3
    return 2.3 - (place + 3) / 2 if place < -1 else 1.3 + 2 * (place + 1)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_the_range_spans_the_fall(noise: float) -> None:
    found = suggest(made(valley, noise))
    assert found.reason == ""
    assert found.low is not None
    assert found.high is not None
    assert found.low == pytest.approx(10**-2.8, rel=0.9)  # a tenth of the fall, which takes two decades
    assert found.high == pytest.approx(0.1, rel=0.6)


def test_without_noise_both_ends_are_where_the_rule_has_them() -> None:
    found = suggest(made(valley))
    assert found.low == pytest.approx(10**-2.8, rel=0.25)
    assert 0.06 < (found.high or 0) <= 0.12


def test_two_significant_digits() -> None:
    found = suggest(made(valley))
    assert found.low == float(f"{found.low:.2g}")


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (made(lambda place: 2.3), "hardly falls: from 2.3 to 2.3"),
        (made(lambda place: 2.3, noise=0.3), "hardly falls"),
        (made(lambda place: 2.3 + (place + 5) / 10), "hardly falls"),
        (made(lambda place: valley(place - 2), high=1.0), "has not turned up by lr = 1: go on with a higher --high"),
        (made(lambda place: 1.0 if 0.1 < 10**place < 0.15 else 2.3), "there is no room"),
        (LrRangeTest(made(valley).steps[:20], "not_finite"), "left all bounds after 20 steps"),
    ],
    ids=["flat", "noise", "rises", "falls to the end", "narrow", "short"],
)
def test_no_sound_suggestion(test: LrRangeTest, reason: str) -> None:
    found = suggest(test)
    assert (found.low, found.high) == (None, None)
    assert reason in found.reason


@pytest.mark.parametrize("seed", range(8))
def test_noise_at_the_bottom_is_no_rise(seed: int) -> None:
    """While the loss has not moved, all batches have much the same; not so any more once it fell."""
    calm = made(lambda place: max(1.5, 2.3 - max(0.0, place + 3)), high=0.1).steps
    mean, draw, steps = MovingMean(BETA), random.Random(seed), []  # noqa: S311
    for step in calm:
        loss = step.loss + draw.gauss(0, 0.12 if step.lr > 0.01 else 0.001)
        steps.append(LrStep(step.lr, loss, mean.add(loss)))
    found = suggest(LrRangeTest(tuple(steps), "end"))
    assert "has not turned up by lr = 0.1" in found.reason


def test_a_loss_that_falls_at_once_is_remarked() -> None:
    found = suggest(made(lambda place: 2.3 - min(1.0, place + 5) if place < -1 else 2.3 + place))
    assert found.low == pytest.approx(2e-5, rel=0.5)
    assert found.high is not None
    assert "a lower --low would show" in found.reason


def test_a_step_that_is_no_number_is_left_out() -> None:
    steps = [step for step in made(valley).steps if step.lr < 0.5]
    whole = suggest(LrRangeTest(tuple(steps), "rose"))
    assert suggest(LrRangeTest((*steps, LrStep(0.5, math.nan, math.nan)), "not_finite")) == whole
    assert whole.low is not None
