"""How good the best configuration is after so many minutes, against what people do otherwise."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, cast

import matplotlib as mpl

from benchmarks.machine import cores
from benchmarks.measuring import interleaved, table
from benchmarks.question import Options, run
from benchmarks.searches import (
    Reached,
    Search,
    ours,
    plain_optuna,
    random_search,
    ray_is_installed,
    ray_tune,
    without_pruning,
)
from cifar_tune.study_spec.yaml_reader import read_yaml

PICTURE = Path("docs/performance-quality.png")
_STUDY = Path("studies/cnn_cpu.yaml")

_CONTENDERS: Mapping[str, Callable[[Search], Reached]] = {
    "cifar-tune": ours,
    "cifar-tune without pruning": without_pruning,
    "random search on cifar-tune's trainer": random_search,
    "plain Optuna, classic loop": plain_optuna,
    "Ray Tune (ASHA), classic loop": ray_tune,
}
_COLOURS = ("#1f5fa8", "#56a3d9", "#8a8a8a", "#d9822b", "#7a4fa3")


def measure(options: Options) -> Sequence[str]:
    """Every search gets the same minutes, space and images; they take turns."""
    contenders = {name: search for name, search in _CONTENDERS.items() if name[:3] != "Ray" or ray_is_installed()}
    seconds = 20.0 if options.quick else 60 * options.minutes
    repetitions = 1 if options.quick else options.repetitions

    def variant(contender: Callable[[Search], Reached]) -> Callable[[int], Reached]:
        return lambda number: contender(Search(_study(options), seconds, number, cores(), options.scratch))

    found = interleaved({name: variant(contender) for name, contender in contenders.items()}, repetitions)
    picture = options.scratch / PICTURE.name if options.quick else PICTURE
    picture.parent.mkdir(exist_ok=True)
    _draw(found, seconds, picture)
    marks = [seconds / 4, seconds / 2, seconds]
    header = ("search", *(f"after {mark / 60:.3g} min" for mark in marks), "epochs trained")
    missing = [name for name in _CONTENDERS if name not in contenders]
    return [
        "## The best configuration after so many minutes",
        f"Each search has the space of `{_STUDY}`, {_study(options)['data']['train_size']:,} training images, "
        f"{cores()} cores and {seconds / 60:.3g} minutes, in which processes also have to start and import. Repeated "
        f"{'once' if repetitions == 1 else f'{repetitions} times'} with other seeds. The table shows the best "
        "validation accuracy of any epoch so far, in %: the median, with the extremes in parentheses. "
        '"Classic loop" is an ordinary training loop with a DataLoader of 2 workers; under plain Optuna it has the '
        "default number of threads.",
        *[f"Not measured, since it is not installed (`pip install 'ray[tune]'`): {name}." for name in missing],
        table(header, [_row(name, runs, marks) for name, runs in found.items()]),
        *([] if options.quick else [f"![Best validation accuracy over time]({PICTURE.name})"]),
    ]


def _study(options: Options) -> dict[str, Any]:
    plain = cast("dict[str, Any]", read_yaml(_STUDY.read_text()).value)
    data = options.images.sized(1_000 if options.quick else 5_000, 400 if options.quick else 5_000)
    return {**plain, "data": {key: value for key, value in data.model_dump(mode="json").items() if value is not None}}


def _row(name: str, runs: Sequence[Reached], marks: Sequence[float]) -> Sequence[object]:
    cells = []
    for mark in marks:
        values = [100 * _best(reached, mark) for reached in runs]
        cells.append(f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})")
    return (name, *cells, f"{median(len(reached) for reached in runs):.0f}")


def _best(reached: Reached, until: float) -> float:
    return max((accuracy for seconds, accuracy in reached if seconds <= until), default=0.0)


def _draw(found: Mapping[str, Sequence[Reached]], seconds: float, picture: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 (after the choice of its backend)

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    times = [seconds * step / 200 for step in range(1, 201)]
    lowest = 100.0
    for (name, runs), colour in zip(found.items(), _COLOURS, strict=False):
        curves = [[100 * _best(reached, at) or float("nan") for at in times] for reached in runs]
        middle = [median(values) for values in zip(*curves, strict=True)]
        lowest = min([lowest, *(value for value in middle if value == value)])  # noqa: PLR0124 (not a number)
        minutes = [at / 60 for at in times]
        axes.plot(minutes, middle, color=colour, label=name, linewidth=1.8)
        low, high = ([limit(values) for values in zip(*curves, strict=True)] for limit in (min, max))
        axes.fill_between(minutes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlim(0, seconds / 60)
    axes.set_xlabel("minutes")
    axes.set_ylabel("best validation accuracy so far (%)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    figure.savefig(picture, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    run({"quality": measure})
