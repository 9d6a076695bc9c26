"""How many executors share a GPU: as many as train more images together than fewer would, and as memory takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cifar_tune.executors.messages import Prepared

_CONTEXT_BYTES = 1 << 30
"""What a process takes on a GPU beside what torch counts: CUDA's context, kernels and libraries; about half of it."""

_SPARED = 0.05
"""Share of the memory that is left alone."""

_WORTH = 1.15
"""Twice as many executors must train so many times as many images: each of them is slower, and costs a core."""

_MOST_EACH = 8
"""Executors on one GPU: each holds a copy of the images there, and hundreds of megabytes of the machine's memory."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """So many executors on each of some GPUs, and what they trained when all of them trained at a time.

    Attributes:
        each: executors per GPU.
        executors: how many there are.
        images_per_second: of all together.
        peak_bytes: what torch holds for the study's largest configuration.
        room_bytes: what all executors on one GPU may take together, but for the context of the first.
        total_bytes: the memory of a GPU.
    """

    each: int
    executors: int
    images_per_second: float
    peak_bytes: int
    room_bytes: int
    total_bytes: int

    def takes_twice_as_many(self, most: int) -> bool:
        """Whether memory suffices if all train the largest configuration at a time, and no more than `most` run."""
        wanted = 2 * self.each
        needed = wanted * self.peak_bytes + (wanted - 1) * _CONTEXT_BYTES
        has_room = needed <= (1 - _SPARED) * self.room_bytes
        return has_room and wanted <= _MOST_EACH and 2 * self.executors <= most

    def with_more(self, each: int, paces: Sequence[float]) -> "Sharing":
        """The same GPUs with `each` executors, which trained so many images per second."""
        return replace(self, each=each, executors=len(paces), images_per_second=sum(paces))

    def is_worth_more_than(self, fewer: "Sharing") -> bool:
        """Whether it trains enough more images."""
        return self.images_per_second > _WORTH * fewer.images_per_second


def alone(prepared: Sequence[Prepared], paces: Sequence[float]) -> Sharing:
    """One executor on each GPU: what they said of their memory, and how they trained."""
    return Sharing(
        1,
        len(paces),
        sum(paces),
        max(each.peak_bytes for each in prepared),
        min(each.room_bytes for each in prepared),
        min(each.total_bytes for each in prepared),
    )


def words(tried: Sequence[Sharing], chosen: Sharing) -> str:
    """The decision and its figures, for people."""
    paces = ", ".join(f"{each.each}: {each.images_per_second:,.0f}" for each in tried)
    return (
        f"--workers auto: {chosen.each} on each GPU; images/s by executors per GPU: {paces}; the largest model "
        f"takes {chosen.peak_bytes / 1e9:.2g} GB of {chosen.total_bytes / 1e9:.3g}"
    )
