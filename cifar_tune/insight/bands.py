"""Between the smallest and the largest of several series, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Band:
    """Lowest and highest value of each step; not a number where no series has one."""

    low: Series
    high: Series


def band(series: Sequence[Sequence[float]]) -> Band:
    """The band of series that may differ in length and have gaps (not a number)."""
    length = max(len(values) for values in series)
    table = np.full((len(series), length), np.nan)
    for row, values in zip(table, series, strict=True):
        row[: len(values)] = values
    return Band(np.fmin.reduce(table, axis=0), np.fmax.reduce(table, axis=0))


def thinned(values: Series, every: int, log: bool) -> Series:
    """The mean of each `every` steps, gaps left out; the geometric one for a logarithmic axis."""
    padded = np.concatenate([values, np.full(-len(values) % every, np.nan)]).reshape(-1, every)
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            padded = np.log(np.where(padded > 0, padded, np.nan))
    counts = np.isfinite(padded).sum(axis=1)
    means = np.divide(np.nansum(padded, axis=1), counts, out=np.full(len(padded), np.nan), where=counts > 0)
    finished: Series = np.exp(means) if log else means
    return finished
