"""How many executors share a GPU: as many as train more images together than fewer would, and as memory takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from cifar_tune.executors.messages import Rehearsed

CONTEXT_BYTES = 1 << 30
"""What a process takes on a GPU beside what torch counts: CUDA's context, kernels and libraries; about half of it."""

_WORTH = 1.15
"""Twice as many executors must train so many times as many images: each of them is slower, and costs a core."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """So many executors on each of some GPUs, and what they trained when all of them trained at a time.

    Attributes:
        each: executors per GPU.
        heard: what each of them found.
    """

    each: int
    heard: Sequence[Rehearsed]

    @property
    def images_per_second(self) -> float:
        """Of all together."""
        return sum(each.images_per_second for each in self.heard)

    def takes_twice_as_many(self, cores: int) -> bool:
        """Whether memory and cores are enough for that; every executor needs a core that feeds its GPU."""
        needed = self.each * (max(each.peak_bytes for each in self.heard) + CONTEXT_BYTES)
        has_memory = min(each.free_bytes for each in self.heard) > needed
        return has_memory and 2 * len(self.heard) <= cores

    def is_worth_more_than(self, fewer: "Sharing") -> bool:
        """Whether it trains enough more images."""
        return self.images_per_second > _WORTH * fewer.images_per_second


def words(tried: Sequence[Sharing], chosen: Sharing) -> str:
    """The decision and its figures, for people."""
    paces = ", ".join(f"{each.each}: {each.images_per_second:,.0f}" for each in tried)
    largest = max(found.peak_bytes for found in chosen.heard)
    total = min(found.total_bytes for found in chosen.heard)
    return (
        f"--workers auto: {chosen.each} on each GPU; images/s by executors per GPU: {paces}; the largest model "
        f"takes {largest / 1e9:.2g} GB of {total / 1e9:.3g}"
    )
