r"""What each way of stopping trials needs to find a good one, replayed on trials that were all trained to their end.

    python -m benchmarks.curves curves.json --images data/cifar10-jpeg
    python -m benchmarks.replay curves.json

The curves of a space are drawn with replacement into many pools, each as large as the space, in a random order. Each
policy goes through each pool, one trial at a time. What counts is how many epochs it has trained when a trial has
completed whose accuracy is within 0.2, or 0.5, points of the best one of its pool. Where none ever is, that counts as
the epochs of all trials, trained to their end. The standard error is that over pools.
"""

import argparse
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import optuna

from benchmarks.curves import Curve, read_curves
from benchmarks.measuring import table
from benchmarks.question import write_section
from cifar_tune.cli.whole_process import quieten_optuna
from cifar_tune.knobs.part import Value
from cifar_tune.pruners.build import build_pruner
from cifar_tune.pruners.promotion import Ladder
from cifar_tune.study_spec.settings import PrunerSpec

_POINTS = (0.2, 0.5)
_SHARE = 0.2
"""Of the epochs of all trials: when the best completed trial so far is looked at."""

Completed = Iterator[tuple[int, float]]
"""Epochs trained so far, and the accuracy of a trial that has just completed."""

Policy = Callable[[Sequence[Curve], int], Completed]
"""Goes through trials, which have so many epochs at most."""


def stopping(name: str, options: Mapping[str, Value], trials: Sequence[Curve], epochs: int) -> Completed:
    """A pruner of the product, which stops for good."""
    study = optuna.create_study(
        study_name="replay",
        direction="maximize",
        pruner=build_pruner(PrunerSpec(name, options), epochs),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    spent = 0
    for each in trials:
        trial = study.ask()
        pruned = len(each.accuracies) < epochs  # it diverged
        for epoch, value in enumerate(each.accuracies, start=1):
            spent += 1
            trial.report(value, epoch)
            if trial.should_prune() and epoch < epochs:
                pruned = True
                break
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, each.accuracies[-1])
            yield spent, each.accuracies[-1]


def promoting(
    factor: int, keep: int, trials: Sequence[Curve], epochs: int, complete: float = 0.1, most_paused: int = 20
) -> Completed:
    """The pruner `promotion`: a paused trial goes on when it belongs to the best.

    Args:
        factor: each rung has so many times the epochs of the last one; the first has 1.
        keep: one in so many is promoted.
        trials: in their order.
        epochs: of the longest.
        complete: this share of the trials completes in all, the best paused ones at the end if need be; one always.
        most_paused: trials that wait at a time.
    """
    ladder = Ladder(1, factor, keep)
    waiting: dict[int, int] = {}
    begun = spent = completed = 0
    while True:
        number = ladder.next(waiting)
        if number is None and begun < len(trials):
            number, begun = begun, begun + 1
        to_the_end = number is None
        if number is None and completed < max(1, round(complete * len(trials))):
            number = ladder.best(waiting)
        if number is None:
            return
        values = trials[number].accuracies
        done = ladder.epoch_of(waiting.pop(number)) if number in waiting else 0
        for epoch in range(done + 1, len(values) + 1):
            spent += 1
            rung = ladder.rung_at(epoch)
            if rung is None or epoch == epochs:
                continue
            ladder.reach(number, rung, values[epoch - 1])
            if not to_the_end and not ladder.is_promoted(number, rung):
                waiting[number] = rung
                break
        else:
            if len(values) == epochs:  # else it diverged
                completed += 1
                yield spent, values[-1]
        for hopeless in ladder.hopeless(waiting, most_paused):
            del waiting[hopeless]


def staged(stages: Sequence[tuple[int, float]], trials: Sequence[Curve], epochs: int) -> Completed:
    """All trials for some epochs, then the best share of them further, and so on; the last ones to the end.

    One stage of one epoch is the baseline of Egele et al. 2023.

    Args:
        stages: epochs, and the share of all trials that goes on from there.
        trials: in their order.
        epochs: of the longest.
    """
    left, done, spent = [trial.accuracies for trial in trials], 0, 0
    for until, share in stages:
        if until >= epochs:
            break
        spent += sum(max(0, min(until, len(values)) - done) for values in left)
        able = [values for values in left if len(values) >= until]
        able.sort(key=lambda values: values[until - 1], reverse=True)
        left, done = able[: max(1, round(share * len(trials)))], until
    for values in left:
        spent += len(values) - done
        if len(values) == epochs:
            yield spent, values[-1]


POLICIES: Mapping[str, Policy] = {
    "none": partial(stopping, "none", {}),
    "median": partial(stopping, "median", {}),
    "patient, patience: 3": partial(stopping, "patient", {"patience": 3}),
    "asha, factor 4": partial(stopping, "asha", {}),
    "asha, factor 3": partial(stopping, "asha", {"reduction_factor": 3}),
    "asha, factor 2": partial(stopping, "asha", {"reduction_factor": 2}),
    "hyperband": partial(stopping, "hyperband", {}),
    "1 epoch, best 5 %": partial(staged, [(1, 0.05)]),
    "1 epoch, best 10 %": partial(staged, [(1, 0.1)]),
    "1 epoch, best 20 %": partial(staged, [(1, 0.2)]),
    "2 epochs, best 20 %": partial(staged, [(2, 0.2)]),
    "1 epoch, best half; 3 epochs, best 20 %": partial(staged, [(1, 0.5), (3, 0.2)]),
    "promotion (rungs 1, 3, 9; keep: 2)": partial(promoting, 3, 2),
    "promotion, most_paused: 5": partial(promoting, 3, 2, most_paused=5),
    "promotion, all may pause": partial(promoting, 3, 2, most_paused=1_000_000),
    "promotion, rungs 1, 2, 4; keep: 2": partial(promoting, 2, 2),
    "promotion, keep: 3": partial(promoting, 3, 3),
    "promotion, rungs 1, 4, 16; keep: 4": partial(promoting, 4, 4),
    "promotion, rung 1 alone; keep: 5": partial(promoting, 1000, 5),
}


def pools(trials: Sequence[Curve], count: int, size: int) -> list[list[Curve]]:
    """So many pools of so many curves, drawn with replacement, in random order; the same every time."""
    return [random.Random(number).choices(trials, k=size) for number in range(count)]  # noqa: S311


class Found:
    """One pool under one policy, in points of accuracy and in shares of the epochs of all its trials.

    Attributes:
        needed: by each of the distances to the best one, the share of epochs; 1 where it was missed.
        missed: by the same, whether it was.
        loss: by how much the best completed trial is worse than the best one.
        early: the same after a fifth of all epochs.
        epochs: the share that was trained in all.
    """

    def __init__(self, pool: Sequence[Curve], policy: Policy) -> None:
        longest = max(len(trial.accuracies) for trial in pool)
        everything = sum(len(trial.accuracies) for trial in pool)
        best = max((trial.accuracies[-1] for trial in pool if len(trial.accuracies) == longest), default=0.0)
        events = list(policy(pool, longest))
        reached = [
            next((spent / everything for spent, value in events if value >= best - points / 100 - 1e-9), None)
            for points in _POINTS
        ]
        self.needed = [1.0 if share is None else share for share in reached]
        self.missed = [share is None for share in reached]
        self.loss = 100 * (best - max((value for _, value in events), default=0.0))
        self.early = 100 * (best - max((value for spent, value in events if spent <= _SHARE * everything), default=0.0))


def _cell(values: Sequence[float], form: str = ".1f") -> str:
    error = stdev(values) / len(values) ** 0.5
    return f"{mean(values):{form}} ± {error:{form}}"


def measure(trials: Sequence[Curve], count: int, size: int, policies: Mapping[str, Policy]) -> str:
    """The table of one space."""
    drawn = pools(trials, count, size)
    rows = []
    for name, policy in policies.items():
        found = [Found(pool, policy) for pool in drawn]
        cells = []
        for index, _ in enumerate(_POINTS):
            needed = _cell([100 * each.needed[index] for each in found])
            cells.append(f"{needed} ({mean(each.missed[index] for each in found):.0%})")
        rows.append(
            (
                name,
                *cells,
                _cell([each.loss for each in found], form=".2f"),
                _cell([each.early for each in found], form=".2f"),
            )
        )
    header = (
        "policy", *(f"% of epochs to {points} points (missed)" for points in _POINTS),
        "points lost at the end", f"after {_SHARE:.0%} of the epochs",
    )  # fmt: skip
    return table(header, rows)


_WORDS = """Written by `python -m benchmarks.replay curves.json --trials {size}`. It replays a random search, one trial
at a time, on stored learning curves (`python -m benchmarks.curves`): {pools} pools of {size} trials per space, drawn
with replacement. The first two columns answer: how many epochs does it take until a trial has completed that is within
0.2 (or 0.5) points of the best one of its pool? They are in % of the epochs that all trials together would take. In
parentheses is how often no such trial completed; that counts as 100 %. "Points lost" is by how much the best completed
trial is worse than the best one of the pool, at the end and after a fifth of the epochs. Each figure is a mean over the
pools with its standard error. All pools are drawn from the same curves, so the errors do not include how other curves
would have turned out."""


def main() -> None:
    """Read the curves and print a table per space."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("file", type=Path, help="that benchmarks.curves has written")
    parser.add_argument("--pools", type=int, default=100)
    parser.add_argument("--trials", type=int, help="of each pool; else as many as there are curves")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES), metavar="POLICY")
    parser.add_argument("--write", type=Path, help="document to put the tables into, such as docs/performance.md")
    given = parser.parse_args()
    quieten_optuna()
    parts = []
    policies = {name: POLICIES[name] for name in given.policies}
    for name, trials in read_curves(given.file).items():
        size = given.trials or len(trials)
        words = f"{len(trials)} curves, in pools of {size}."
        parts.append(f"### {name}\n\n{words}\n\n{measure(trials, given.pools, size, policies)}")
    text = "\n\n".join(
        ["## What each way of stopping needs", _WORDS.format(pools=given.pools, size=given.trials or "all"), *parts]
    )
    print(text)
    if given.write is not None:
        write_section(given.write, "replay", text)


if __name__ == "__main__":
    main()
