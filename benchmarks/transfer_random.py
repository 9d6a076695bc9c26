"""What the best configurations of an earlier study are worth beside random search, on tables that are trained already.

    python -m benchmarks.transfer_random tables.json

`python -m benchmarks transfer --tables tables.json` trains the tables, and asks the same of TPE with the functions of
cifar-tune, which takes minutes. This takes a second: both studies draw configurations of the grid at random, each once.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PAIRS = (
    ("CIFAR, width 4", "CIFAR"),
    ("CIFAR, 1,000 images", "CIFAR"),
    ("CIFAR, 1 epoch", "CIFAR"),
    ("CIFAR, tutorial_net", "CIFAR"),
    ("digits", "CIFAR"),
    ("CIFAR", "digits"),
    ("digits, width 4", "digits"),
    ("digits, tutorial_net", "digits"),
    ("digits", "CIFAR, tutorial_net"),
)
"""The earlier study, and the new one."""

MADE = ("no relation", "turned round")
"""Earlier studies that are made: values in a random order, and those of the new task itself, the worst first."""

NEAR = 0.02
"""Of validation accuracy: a configuration as near to the best of the grid counts as found."""

_TRIALS = 30
_EARLY = (5, 10, 20)
_NUMBERS = (1, 3, 5, 10)
_USUAL = 5


def figures(tried: Floats, best: float) -> list[float]:
    """Trials until one is near the best, and how many points the best so far is short of it after each of `_EARLY`.

    Args:
        tried: accuracies in the order in which they were tried.
        best: of the grid.
    """
    near = np.flatnonzero(tried >= best - NEAR)
    return [float(near[0] + 1), *(100 * (best - tried[:count].max()) for count in _EARLY)]


def differences(earlier: Floats, new: Floats, number: int, seeds: int) -> tuple[Floats, Floats]:
    """`figures` without transfer, and with it minus without, each [seeds, 1 + len(_EARLY)].

    Args:
        earlier: accuracies of the grid in the earlier task, by which its configurations are ranked.
        new: those in the new one.
        number: configurations that are taken.
        seeds: pairs of studies.
    """
    without, given = [], []
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        seen, order = draw.permutation(len(new))[:_TRIALS], draw.permutation(len(new))
        known = seen[np.argsort(-earlier[seen], kind="stable")][:number]
        rest = order[~np.isin(order, known)]
        without.append(figures(new[order], float(new.max())))
        given.append(figures(new[np.concatenate([known, rest])], float(new.max())))
    return np.array(without), np.array(given) - np.array(without)


def _shown(values: Floats) -> str:
    return f"{values.mean():+.1f} ± {values.std(ddof=1) / np.sqrt(len(values)):.1f}"


def _earlier(name: str, new: Floats, tables: dict[str, Floats]) -> Floats:
    if name == MADE[0]:
        return np.random.default_rng(1).permutation(new)
    return -new if name == MADE[1] else tables[name]


def pair_rows(tables: dict[str, Floats], seeds: int) -> Iterator[Sequence[str]]:
    """One row per pair; then the mean over the real ones, with its standard error over pairs."""
    means = []
    for earlier, task in (*PAIRS, *((name, "CIFAR") for name in MADE)):
        new = tables[task]
        without, gain = differences(_earlier(earlier, new, tables), new, _USUAL, seeds)
        if earlier not in MADE:
            means.append(gain.mean(axis=0))
        yield earlier, task, f"{without[:, 0].mean():.1f}", *map(_shown, gain.T)
    yield f"mean of the first {len(PAIRS)}", "", "", *map(_shown, np.array(means).T)


def number_rows(tables: dict[str, Floats], seeds: int) -> Iterator[Sequence[str]]:
    """One row per number of configurations: trials saved in the mean of the real pairs, and of each made one."""
    for number in _NUMBERS:
        real = np.array([
            differences(tables[earlier], tables[task], number, seeds)[1].mean(axis=0) for earlier, task in PAIRS
        ])  # fmt: skip
        new = tables["CIFAR"]
        made = [differences(_earlier(name, new, tables), new, number, seeds)[1][:, 0] for name in MADE]
        yield str(number), *map(_shown, real.T), *map(_shown, made)


def main() -> None:
    """Print both tables in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer_random", description=__doc__)
    parser.add_argument("tables", type=Path, help="as `python -m benchmarks transfer` writes them")
    parser.add_argument("--seeds", type=int, default=200, help="pairs of studies of each kind")
    given = parser.parse_args()
    tables = {name: np.array(list(cells.values())) for name, cells in json.loads(given.tables.read_text()).items()}
    early = [f"points missed after {count}" for count in _EARLY]
    for columns, rows in (
        (["earlier study", "new study", "trials needed", "difference", *early], pair_rows(tables, given.seeds)),
        (["configurations", "trials needed", *early, *MADE], number_rows(tables, given.seeds)),
    ):
        for row in (columns, ["---"] * len(columns), *rows):
            print(f"| {' | '.join(row)} |")
        print()


if __name__ == "__main__":
    main()
