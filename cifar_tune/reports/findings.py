"""Plain sentences about a study: what its best trials have in common, and what became of spared trials.

What the best trials have in common is said only where chance is no likely reason. Each candidate is tested against
random choices of ten among the same completed trials. A sentence is said if fewer than one choice in a hundred, shared
between all knobs that are tested, is as striking. A sampler that learns comes back to what it holds for good, and its
later trials are better ones too, whatever a knob is worth: so as many are chosen from each fifth of the study as the
best ten have there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cifar_tune.knobs.part import Value
from cifar_tune.reports.report import Report, SearchedKnob
from cifar_tune.storage.records import TrialRecord
from cifar_tune.wording import figure


def sparing_words(report: Report) -> str:
    """How good the best of them is among the trials that the pruner let through; empty where there are none."""
    spared = [trial for trial in report.completed if trial.spared_at is not None]
    others = [trial for trial in report.completed if trial.spared_at is None]
    if not spared:
        return ""
    sign = 1 if report.maximizes else -1
    values = [sign * (trial.value or 0.0) for trial in others]
    best = max(spared, key=lambda trial: sign * (trial.value or 0.0))
    words = (
        f"{len(spared):,} of the trials that the pruner would have stopped {'was' if len(spared) == 1 else 'were'} "
        f"trained to the end on purpose; the best of them is trial {best.number} with {report.scale.shown(best.value)}"
    )
    if not others:
        return words
    place = 1 + sum(value > sign * (best.value or 0.0) for value in values)
    verdict = "better than every" if place == 1 else f"in place {place:,} among the {len(others):,}"
    return f"{words}, {verdict} trial{'' if place == 1 else 's'} that it let through"


Floats = npt.NDArray[np.float64]

BEST = 10
"""The trials that a finding is about."""

FEWEST = 40
"""Completed trials, below which nothing is said."""

LEVEL = 0.01
"""How likely it is that a study in which no knob matters yields any finding."""

_NEARLY_ALL = 9
_MOST_COMMON = 0.5
_CHOICES = 4000
_PARTS = 5
_EDGE = 0.1
_HIGHER, _LOWER = ": higher values may be better still.", ": lower values may be better still."
_LONGEST = 1e7
"""Whole numbers from here on are not written out."""


@dataclass(frozen=True)
class Finding:
    """A sentence and what carries it.

    Attributes:
        sentence: what the best trials have in common.
        evidence: how common that is among all, and how likely by chance.
        trials: the best trials that it holds for.
    """

    sentence: str
    evidence: str
    trials: Sequence[TrialRecord]


def findings(report: Report) -> list[Finding]:
    """The findings, in the order of the knobs; empty for several objectives, which have no best ten."""
    if report.record.spec.has_several_objectives or len(report.ranked) < FEWEST:
        return []
    tested = [(knob, taken) for knob in report.knobs if len(taken := _taken(report, knob)) >= FEWEST]
    tested = [(knob, taken) for knob, taken in tested if len({trial.params[knob.name] for trial in taken}) > 1]
    found = []
    for knob, taken in tested:
        finding = _test(knob, taken, LEVEL / len(tested))
        if finding is not None:
            found.append(finding)
    return found


def _taken(report: Report, knob: SearchedKnob) -> list[TrialRecord]:
    """The completed trials that took the knob, best first."""
    return [trial for trial in report.ranked if knob.name in trial.params]


def _test(knob: SearchedKnob, taken: Sequence[TrialRecord], level: float) -> Finding | None:
    positions = np.array([float(knob.position(trial) or 0.0) for trial in taken])
    narrowest = _narrowest_range if knob.levels is None else _rarest_choice
    ordered = np.sort(positions)
    share, low, high = narrowest(positions[:BEST], ordered)
    if share > _MOST_COMMON:
        return None
    by_chance = sum(narrowest(chosen, ordered)[0] <= share for chosen in _chosen(taken, positions))
    chance = (by_chance + 1) / (_CHOICES + 1)
    if chance >= level:
        return None
    inside = [trial for trial, position in zip(taken[:BEST], positions[:BEST], strict=True) if low <= position <= high]
    common = f"So do {share * 100:.0f} % of all {len(taken):,} completed trials with {knob.name}"
    evidence = f"{common}; {BEST} of them at random are as much alike in {_rarely(chance)} of draws"
    return Finding(_sentence(knob, inside), evidence, inside)


def _chosen(taken: Sequence[TrialRecord], positions: Floats) -> Iterator[Floats]:
    """Ten positions at a time, as many from each fifth of the study as the best ten have there; always the same."""
    order = np.argsort([trial.number for trial in taken])
    draw = np.random.default_rng(0)
    parts = [(part, int((part < BEST).sum())) for part in np.array_split(order, _PARTS)]
    for _ in range(_CHOICES):
        yield positions[np.concatenate([draw.choice(part, count, replace=False) for part, count in parts if count])]


def _sentence(knob: SearchedKnob, inside: Sequence[TrialRecord]) -> str:
    values: list[Value] = [trial.params[knob.name] for trial in inside]
    count = f"{len(inside)} of the best {BEST}{' with this knob' if knob.when else ''}"
    if knob.levels is not None:
        return f"{count} have {knob.label} {figure(values[0])}."
    numbers = [float(value) for value in values if not isinstance(value, tuple)]
    words = f"{count} have {knob.label} between {_round(min(numbers))} and {_round(max(numbers))}."
    return words + _at_the_edge(knob, min(numbers), max(numbers))


def _at_the_edge(knob: SearchedKnob, low: float, high: float) -> str:
    """A remark where all of them lie in the outer tenth of the range, beyond which the optimum may be."""
    at = np.log if knob.log else np.asarray
    first, last, begin, end = (float(at(each)) for each in (knob.low, knob.high, low, high))
    reach = _EDGE * (last - first)
    if begin >= last - reach:
        words = f" That is the upper end of its range, {_round(knob.high)}"
        return f"{words}, and there is nothing above." if knob.high >= knob.knob.high else f"{words}{_HIGHER}"
    if end <= first + reach:
        words = f" That is the lower end of its range, {_round(knob.low)}"
        return f"{words}, and there is nothing below." if knob.low <= knob.knob.low else f"{words}{_LOWER}"
    return ""


def _narrowest_range(best: Floats, ordered: Floats) -> tuple[float, float, float]:
    """The range that holds nearly all of the best and the fewest of all, as a share of these; and its ends."""
    inside = np.sort(best)
    lows, highs = inside[: len(inside) - _NEARLY_ALL + 1], inside[_NEARLY_ALL - 1 :]
    counts = np.searchsorted(ordered, highs, side="right") - np.searchsorted(ordered, lows, side="left")
    first = int(np.argmin(counts))
    return float(counts[first]) / len(ordered), float(lows[first]), float(highs[first])


def _rarest_choice(best: Floats, ordered: Floats) -> tuple[float, float, float]:
    """The same for the choice that nearly all of the best share; a share above 1 where there is none."""
    values, counts = np.unique(best, return_counts=True)
    common = float(values[np.argmax(counts)])
    if counts.max() < _NEARLY_ALL:
        return 2.0, common, common
    return float(np.mean(ordered == common)), common, common


def _round(value: float) -> str:
    """Two digits; whole numbers whole, and so are all from 100 on."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:.0f}" if abs(value) < _LONGEST else f"{value:.2g}".replace("e+0", "e").replace("e+", "e")
    return f"{value:.2g}".replace("e-0", "e-")


def _rarely(chance: float) -> str:
    """Rounded up, so that nothing is claimed that was not counted."""
    limit = next((limit for limit in (0.0005, 0.001, 0.002, 0.005) if chance <= limit), LEVEL)
    return f"fewer than {limit * 100:g} %"
