"""Choosing a winner among noisy trials by halving: fresh trainings, most of them for the best candidates.

Successive halving (Karnin, Koren and Somekh 2013) in three rungs. A block is a seed and a part of the images that all
candidates of a rung share, so that luck common to them cancels out when they are compared. No test drops a candidate:
the better ones by their mean go on. What is said of the finalists afterwards rests on fresh values alone. They were
chosen for their values in earlier rungs, so the intervals are taken from simulated halvings in which all candidates are
equal.

All values here are higher for better candidates: losses are to be negated first.
"""

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cifar_tune.statistics.paired import student_quantile

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
FEWEST_TRAININGS, MOST_TRAININGS = 10, 40
"""Between these lies the number of trainings that is taken unless somebody names another."""

_DRAWS = 20_000
_ROUNDING = 1e-24
"""A sum of squares that is smaller than this share of the squared values themselves is 0 but for rounding."""

_AT_A_TIME = 2_000_000
"""Made-up values that are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a halving: this many candidates, each trained once on each of this many new blocks."""

    candidates: int
    blocks: int

    @property
    def trainings(self) -> int:
        """How many there are in it."""
        return self.candidates * self.blocks


def usual_trainings(candidates: int) -> int:
    """How many trainings a halving of this many candidates gets unless somebody names another number."""
    return min(MOST_TRAININGS, max(FEWEST_TRAININGS, candidates // 2))


def plan_rungs(trainings: int, candidates: int) -> tuple[Rung, ...]:
    """The rungs of a halving.

    Args:
        trainings: at most this many in all, at least FEWEST_TRAININGS.
        candidates: that there are; not all of them need take part.

    Returns:
        None at all where there is one candidate.
    """
    first = min(candidates, max(4, round(trainings / 4)))
    if first < 2:
        return ()
    second = math.ceil(first / 2) if first > 2 else first
    last = min(3 if trainings >= 16 else 2, second)
    middle_blocks = 2 if second > last else 0
    last_blocks = (trainings - first - second * middle_blocks) // last
    middle = [Rung(second, middle_blocks)] if middle_blocks else []
    return (Rung(first, 1), *middle, Rung(last, last_blocks))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a halving is.

    Attributes:
        entered: of each rung that has begun, the candidates that entered it, best first.
        ranked: the candidates that are left where it is over, the winner first; None while values are missing.
    """

    entered: tuple[tuple[int, ...], ...]
    ranked: tuple[int, ...] | None


def progress(studied: Floats, fresh: Floats, rungs: Sequence[Rung], withdrawn: Set[int] = frozenset()) -> Progress:
    """Decide who goes on, from all values that there are.

    After each rung those stay whose mean is best, over the study's value and all fresh ones. Of equal ones, the study's
    better one stays.

    Args:
        studied: the value that the study had for each candidate, [candidates], best first.
        fresh: values, [candidates, blocks]; NaN where there is none yet.
        rungs: of these blocks.
        withdrawn: candidates that get no further values; they leave in the rung in which one is missing.
    """
    entered = [tuple(range(rungs[0].candidates))]
    done = 0
    for following in (*rungs[1:], None):
        done += rungs[len(entered) - 1].blocks
        running = [each for each in entered[-1] if each not in withdrawn or not np.isnan(fresh[each, :done]).any()]
        if np.isnan(fresh[running, :done]).any():
            return Progress(tuple(entered), None)
        means = (studied[: len(fresh)] + fresh[:, :done].sum(axis=1)) / (1 + done)
        ranked = tuple(sorted(running, key=lambda each: (-means[each], each)))
        if following is None or not ranked:
            return Progress(tuple(entered), ranked)
        entered.append(ranked[: following.candidates])
    raise AssertionError("the last rung has returned")


def residual_variance(fresh: Floats, rungs: Sequence[Rung]) -> tuple[float, int]:
    """The variance of trainings of one candidate beyond what their blocks do to all candidates alike.

    That is the mean square of candidate x block in a two-way layout, pooled over the rungs of several blocks.

    Args:
        fresh: values, [candidates, blocks]; NaN where a candidate was not trained.
        rungs: of these blocks.

    Returns:
        The variance and its degrees of freedom; (NaN, 0) where no rung tells anything, also where nothing scatters:
        then the values are too coarse to show it, such as accuracies on a few images.
    """
    squares, freedom, size = 0.0, 0, 0.0
    for values in _by_rung(fresh, rungs):
        whole = values[~np.isnan(values).any(axis=1)]
        candidates, blocks = whole.shape
        if candidates > 1 and blocks > 1:
            rest = whole - whole.mean(axis=1, keepdims=True) - whole.mean(axis=0) + whole.mean()
            squares += float((rest**2).sum())
            size += float((whole**2).sum())
            freedom += (candidates - 1) * (blocks - 1)
    return (squares / freedom, freedom) if squares > _ROUNDING * size else (math.nan, 0)


def _by_rung(fresh: Floats, rungs: Sequence[Rung]) -> Iterator[Floats]:
    begin = 0
    for rung in rungs:
        yield fresh[:, begin : begin + rung.blocks]
        begin += rung.blocks


def leads(fresh: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """How far the best rival was ahead of each candidate, in the mean over all blocks that the candidate has.

    Args:
        fresh: values, [candidates, blocks]; NaN where a candidate was not trained. Each has values up to some block.

    Returns:
        The leads, [candidates], below 0 for one that was ahead of all; NaN without a block or a rival. And the numbers
        of blocks.
    """
    counts = (~np.isnan(fresh)).sum(axis=1)
    found = np.full(len(fresh), math.nan)
    for index, blocks in enumerate(counts.tolist()):
        rivals = [other for other in range(len(fresh)) if other != index and counts[other] >= blocks]
        if blocks and rivals:
            means = fresh[:, :blocks].mean(axis=1)
            found[index] = means[rivals].max() - means[index]
    return found, counts


@lru_cache(maxsize=64)
def critical_lead(rungs: tuple[Rung, ...], confidence: float = CONFIDENCE) -> float:
    """How large a lead, in standard errors of a difference, becomes by chance where all candidates are equal.

    Taken from 20,000 halvings of made-up values, which are the same in every call.

    Args:
        rungs: at least two candidates; the last one, or another, has several blocks.
        confidence: that the lead over a candidate stays below what is returned, where all are equal.
    """
    draw = np.random.default_rng(0)
    size = rungs[0].candidates * sum(rung.blocks for rung in rungs)
    most = max(1, _AT_A_TIME // size)
    found = [_chance_leads(draw, min(most, _DRAWS - begin), rungs) for begin in range(0, _DRAWS, most)]
    return float(np.quantile(np.concatenate(found), confidence))


def _chance_leads(draw: np.random.Generator, halvings: int, rungs: tuple[Rung, ...]) -> Floats:
    """The lead over each candidate in standard errors, [halvings, candidates], where all are equal."""
    candidates = rungs[0].candidates
    values = draw.standard_normal((halvings, candidates, sum(rung.blocks for rung in rungs)))
    running = np.tile(np.arange(candidates), (halvings, 1))  # of each halving, those that are in the rung
    lead, blocks_of = np.zeros((halvings, candidates)), np.zeros((halvings, candidates))
    squares, freedom, done = np.zeros(halvings), 0, 0
    rows = np.arange(halvings)[:, None]
    for index, rung in enumerate(rungs):
        if rung.blocks > 1 and rung.candidates > 1:
            rest = values[rows, running, done : done + rung.blocks]
            rest = rest - rest.mean(axis=2, keepdims=True)
            rest = rest - rest.mean(axis=1, keepdims=True)
            squares += (rest**2).sum(axis=(1, 2))
            freedom += (rung.candidates - 1) * (rung.blocks - 1)
        done += rung.blocks
        means = values[rows, running, :done].mean(axis=2)
        order = np.sort(means, axis=1)
        rival = np.where(means == order[:, -1:], order[:, -2:-1], order[:, -1:])
        lead[rows, running], blocks_of[rows, running] = rival - means, done
        if index + 1 < len(rungs):
            stay = np.argsort(-means, axis=1)[:, : rungs[index + 1].candidates]
            running = np.take_along_axis(running, stay, axis=1)
    return lead / np.sqrt(2 * (squares / freedom)[:, None] / blocks_of)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What fresh values say of the candidates of a halving.

    Attributes:
        scatter: standard deviation of a training beyond what its block does to all candidates; NaN where unknown.
        freedom: its degrees of freedom.
        critical: `critical_lead`.
        tied: whether a candidate is not told from the best one that was raced, bool [candidates].
        at_most_worse: by how much each is worse than the best one at most, [candidates], in the unit of the values: all
            of these hold together in 95 of 100 studies. NaN without values, infinite where the scatter is unknown.
    """

    scatter: float
    freedom: int
    critical: float
    tied: npt.NDArray[np.bool_]
    at_most_worse: Floats


def compare(fresh: Floats, rungs: Sequence[Rung], winner: int) -> Comparison:
    """Say which candidates are not told apart from the best one, and how much worse each can be.

    Args:
        fresh: values, [candidates, blocks]; NaN where a candidate was not trained.
        rungs: of these blocks, with as many candidates as were left.
        winner: is tied with the best whatever its values are.
    """
    lead, blocks = leads(fresh)
    variance, freedom = residual_variance(fresh, rungs)
    if not freedom:
        tied = ~np.isnan(lead)
        tied[winner] = True
        return Comparison(math.nan, 0, math.nan, tied, np.where(blocks > 0, math.inf, math.nan))
    critical = critical_lead(tuple(rungs))
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = critical * np.sqrt(2 * variance / blocks)
        tied = np.asarray(lead <= margin)
        worse = np.where(blocks > 0, np.maximum(0.0, lead + margin), math.nan)
    tied[winner] = True
    return Comparison(math.sqrt(variance), freedom, critical, tied, worse)


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def is_point(self) -> bool:
        """Whether it has no width, since all values were the same; then nobody knows how wide it should be."""
        return math.isclose(self.low, self.high, rel_tol=1e-9, abs_tol=1e-12)


def mean_of_folds(values: Sequence[float], folds: Sequence[int]) -> MeanInterval:
    """Student's 95 % interval for what a configuration gives on new images with new seeds.

    Args:
        values: of trainings that chose nothing.
        folds: the part of the images that validated each of them; values of one part are averaged first, since they
            share its luck. At least two different ones, or all equal: then the trainings themselves are the sample,
            and the interval is for these images alone.
    """
    groups = [[value for value, fold in zip(values, folds, strict=True) if fold == each] for each in sorted(set(folds))]
    means = np.array([np.mean(group) for group in groups] if len(groups) > 1 else values)
    half = student_quantile(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))
    middle = float(means.mean())
    return MeanInterval(middle, middle - half, middle + half)
