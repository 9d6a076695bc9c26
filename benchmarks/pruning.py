r"""What a pruner saves and what it costs, replayed on trials that were all trained to their end.

    cifar-tune run studies/cnn_cpu.yaml --workers auto --set name=unpruned --set 'pruner={name: none}' \
        --set 'sampler={name: random}' --set data.train_size=2000 --set budget.timeout=4h --trials 80
    python -m benchmarks.pruning unpruned

The trials of such a study are drawn with replacement into many pools, each as large as the study, and each pool is put
into some orders; in each, every pruner sees the recorded figures one epoch after the other, as it would have seen them
in a study, and says when to stop. What counts is the best accuracy that any epoch showed before so many epochs had been
trained in all. The standard error is that between pools: orders of the same trials differ by much less than studies do.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

import optuna

from benchmarks.measuring import table
from benchmarks.question import write_section
from cifar_tune import load_study
from cifar_tune.cli.whole_process import quieten_optuna
from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.part import Value
from cifar_tune.pruners.build import build_pruner
from cifar_tune.storage.records import TrialRecord
from cifar_tune.study_spec.settings import PrunerSpec

_SHARES = (0.1, 0.2, 0.4)
"""Of the epochs of all trials: when the best so far is looked at."""


@dataclass(frozen=True)
class Policy:
    """A pruner, when it begins, and what it lets live.

    Attributes:
        pruner: as in a study file.
        from_peak: whether it is not asked before the learning rate of the trial has peaked.
        best: a trial goes on while it is better than the N-th best completed one; 0: the pruner alone decides.
    """

    pruner: str
    options: Mapping[str, Value] = field(default_factory=dict)
    from_peak: bool = False
    best: int = 0


_START: Mapping[str, Value] = {"n_startup_trials": 4}
_POLICIES: Mapping[str, Policy] = {
    "none": Policy("none"),
    "median": Policy("median", _START),
    "median, 1 epoch later": Policy("median", {**_START, "n_warmup_steps": 1}),
    "median, from the peak": Policy("median", _START, from_peak=True),
    "median, best 1 kept": Policy("median", _START, best=1),
    "median, best 5 kept": Policy("median", _START, best=5),
    "asha": Policy("asha"),
    "asha, factor 2": Policy("asha", {"reduction_factor": 2}),
    "asha, factor 2, from the peak": Policy("asha", {"reduction_factor": 2}, from_peak=True),
    "asha, factor 2, best 1 kept": Policy("asha", {"reduction_factor": 2}, best=1),
    "asha, factor 3": Policy("asha", {"reduction_factor": 3}),
    "asha, from the peak": Policy("asha", from_peak=True),
    "asha, best 1 kept": Policy("asha", best=1),
    "asha, best 5 kept": Policy("asha", best=5),
    "hyperband": Policy("hyperband"),
    "hyperband, from the peak": Policy("hyperband", from_peak=True),
    "hyperband, best 5 kept": Policy("hyperband", best=5),
}


@dataclass(frozen=True)
class Curve:
    """What is replayed of a trial: validation accuracy after each epoch, and the epoch of the highest learning rate."""

    accuracies: Sequence[float]
    peak: float


@dataclass(frozen=True)
class Replayed:
    """One order under one policy: the best so far at each mark, all epochs trained, whether the best one was ended."""

    best: Sequence[float]
    epochs: int
    lost: bool


def replay(trials: Sequence[Curve], policy: Policy, marks: Sequence[int]) -> Replayed:
    """Let a pruner judge the trials in their order."""
    epochs = max(len(trial.accuracies) for trial in trials)
    pruner = build_pruner(PrunerSpec(policy.pruner, policy.options), epochs)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name="replay", direction="maximize", pruner=pruner, sampler=sampler)
    best_of_all = max(trial.accuracies[-1] for trial in trials)
    best, spent = 0.0, 0
    ends: list[float] = []
    at_marks = [0.0] * len(marks)
    for each in trials:
        trial = study.ask()
        values = each.accuracies
        begin = each.peak if policy.from_peak else 0.0
        pruned = False
        for epoch, value in enumerate(values, start=1):
            spent += 1
            best = max(best, value)
            at_marks = [max(old, best) if spent <= mark else old for old, mark in zip(at_marks, marks, strict=True)]
            trial.report(value, epoch)
            if epoch < begin or not trial.should_prune() or epoch == len(values):
                continue
            if policy.best and (len(ends) < policy.best or value > sorted(ends, reverse=True)[policy.best - 1]):
                continue
            pruned = True
            break
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, values[-1])
            ends.append(values[-1])
    return Replayed(at_marks, spent, lost=best_of_all not in ends)


Pools = Sequence[Sequence[Sequence[Curve]]]
"""By pool and order."""


def resampled(trials: Sequence[Curve], pools: int, orders: int) -> Pools:
    """Pools drawn with replacement, each in so many orders; the same every time."""
    found = []
    for number in range(pools):
        draw = random.Random(number)  # noqa: S311
        pool = draw.choices(trials, k=len(trials))
        found.append([draw.sample(pool, len(pool)) for _ in range(orders)])
    return found


def replayed(pools: Pools, policy: Policy, marks: Sequence[int]) -> list[list[Replayed]]:
    """Every order of every pool under one policy."""
    return [[replay(order, policy, marks) for order in pool] for pool in pools]


def gain(found: Sequence[Sequence[Replayed]], without: Sequence[Sequence[Replayed]], mark: int) -> tuple[float, float]:
    """By how much a policy is ahead of no pruner at a mark, in points, and the standard error of that.

    Args:
        found: of two or more pools.
        without: the same with no pruner.
        mark: its index.
    """
    gains = [
        mean(100 * (ours.best[mark] - none.best[mark]) for ours, none in zip(pool, baseline, strict=True))
        for pool, baseline in zip(found, without, strict=True)
    ]
    return mean(gains), stdev(gains)


def measure(trials: Sequence[Curve], pools: int, orders: int) -> str:
    """The table."""
    everything = sum(len(trial.accuracies) for trial in trials)
    marks = [round(share * everything) for share in _SHARES]
    header = ("pruner", *(f"best after {share:.0%} of the epochs" for share in _SHARES), "epochs in all", "best lost")
    drawn = resampled(trials, pools, orders)
    baseline = replayed(drawn, _POLICIES["none"], marks)
    rows = []
    for name, policy in _POLICIES.items():
        found = baseline if name == "none" else replayed(drawn, policy, marks)
        each = [replay for pool in found for replay in pool]
        cells = []
        for index in range(len(marks)):
            lead, error = gain(found, baseline, index)
            here = f"{100 * mean(one.best[index] for one in each):.2f}"
            cells.append(here if name == "none" else f"{here} ({lead:+.2f} ± {2 * error:.2f})")
        share = mean(one.epochs for one in each) / everything
        rows.append((name, *cells, f"{share:.0%}", f"{mean(one.lost for one in each):.0%}"))
    return table(header, rows)


def curve_of(trial: TrialRecord) -> Curve:
    """What was recorded of a trial."""
    rates = trial.history["lr"]
    return Curve(trial.history["val_accuracy"], float(rates.index(max(rates)) + 1))


def main() -> None:
    """Read the study and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--storage", default=None)
    parser.add_argument("--pools", type=int, default=40)
    parser.add_argument("--orders", type=int, default=5, help="of each pool")
    parser.add_argument("--write", type=Path, help="document to put the table into, such as docs/performance.md")
    given = parser.parse_args()
    quieten_optuna()
    record = load_study(given.study, given.storage).record
    known = (trial for trial in record.ranked if trial.history.get("val_accuracy") and trial.history.get("lr"))
    trials = [curve_of(trial) for trial in known]
    shares = enumerate_names([f"{100 * each:.0f}" for each in _SHARES], "and")
    words = (
        f"{len(trials)} trials of {record.spec.largest_epochs} epochs at most, all trained to their end, of random "
        f"search in the study `{record.name}` ({', '.join(record.spec.search_space)}; "
        f"{record.data['train_images']:,} training images of {record.spec.data.name}), replayed by "
        f"`python -m benchmarks.pruning` in {given.pools} pools drawn from them with replacement, each in "
        f"{given.orders} "
        "orders: each pruner sees the recorded accuracies as it would have seen them in a study. The columns show the "
        f"best validation accuracy of any epoch, in %, after {shares} % of all epochs; in parentheses the "
        'difference to no pruner, with twice its standard error between pools. "Best lost" is how often the best '
        'trial of all was stopped. "From the peak": no trial is stopped before its learning rate has reached its '
        'maximum. "Best N kept": a trial that is better than the N-th best completed one is never stopped.'
    )
    text = f"## What pruners save\n\n{words}\n\n{measure(trials, given.pools, given.orders)}"
    print(text)
    if given.write is not None:
        write_section(given.write, "pruning", text)


if __name__ == "__main__":
    main()
