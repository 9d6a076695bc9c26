"""What a landscape comes to in figures, above all where trainings diverged."""

import json
import math
from pathlib import Path

import pytest

from cifar_tune.insight.gradient_trace import Change
from cifar_tune.insight.landscape import Landscape, LandscapeRun, LandscapeStep
from cifar_tune.insight.landscape_report import all_figures, write_landscapes

from .conftest import small


def run(loss: float, steps: int, diverged: bool = False) -> LandscapeRun:
    first = LandscapeStep(loss, Change((math.nan,), math.nan))
    return LandscapeRun(loss, (first, *[LandscapeStep(loss, Change((loss,), 2 * loss))] * (steps - 1)), diverged)


def landscape(*runs: LandscapeRun) -> Landscape:
    return Landscape("norm batch", small(), runs)


def test_figures_are_medians_over_all_steps() -> None:
    (found,) = all_figures([landscape(run(1.0, 10), run(3.0, 10))])
    assert found == {"loss_band_width": 2.0, "gradient_change": 3.0, "beta": 6.0}


@pytest.mark.parametrize(("until", "is_infinite"), [(2, True), (4, True), (7, False)])
def test_a_training_that_diverged_is_not_smooth(until: int, is_infinite: bool) -> None:
    """Without it the band would be narrow: it was the wide one."""
    (found,) = all_figures([landscape(run(1.0, 10), run(3.0, until, diverged=True))])
    wanted = [math.inf] * 3 if is_infinite else [2.0, 3.0, 6.0]
    assert list(found.values()) == wanted


def test_where_all_of_one_model_diverged_the_other_one_says_how_long_they_would_have_been() -> None:
    bad, good = all_figures([landscape(run(1.0, 3, diverged=True)), landscape(run(1.0, 10))])
    assert list(bad.values()) == [math.inf] * 3
    assert good["beta"] == 2.0
    (nothing,) = all_figures([landscape(LandscapeRun(1.0, (), diverged=True))])
    assert all(math.isnan(value) for value in nothing.values())


def test_files_say_it(tmp_path: Path) -> None:
    both = [landscape(run(1.0, 10), run(3.0, 2, diverged=True)), landscape(run(1.0, 10))]
    write_landscapes(tmp_path, both, [1], fixed_batch=False)
    first, second = json.loads((tmp_path / "landscape.json").read_text())["models"]
    assert (first["beta"], float(first["beta"]), second["beta"]) == ("inf", math.inf, 2.0)
    assert [each["diverged"] for each in first["runs"]] == [False, True]
