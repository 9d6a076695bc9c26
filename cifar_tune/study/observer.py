"""What a coordinator tells whoever watches: the terminal, or a test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cifar_tune.training.results import EpochResult


@dataclass(frozen=True, slots=True)
class TrialEnd:
    """How a trial ended: its state and reason (`attributes.REASONS`), the first objective and the best one so far.

    `figures` are all objectives and constrained metrics by name, `feasible` says whether it keeps the constraints, and
    `front` holds the numbers of the trials on the Pareto front of several objectives; `elapsed` are the seconds of
    `budget.timeout` that were used up.
    """

    number: int
    state: str
    reason: str
    value: float | None
    best_number: int | None
    best_value: float | None
    finished: int
    figures: Mapping[str, float] = field(default_factory=dict)
    feasible: bool = True
    front: Sequence[int] = ()
    detail: str = ""
    elapsed: float = 0.0


class Observer:
    """Receives what happens, in order. Every method does nothing until it is overridden."""

    def note(self, text: str) -> None:
        """Something worth knowing, as a sentence."""

    def decoding(self, done: int, total: int) -> None:
        """So many images of the data set are decoded."""

    def began(self, number: int, params: Mapping[str, object], epochs: int, resumed: int) -> None:
        """A trial begins, or goes on after `resumed` finished epochs."""

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        """A trial finished an epoch; `value` is the objective."""

    def ended(self, end: TrialEnd) -> None:
        """A trial ended."""

    def parked(self, number: int, epochs: int) -> None:
        """A trial was set aside after so many finished epochs; the next run goes on with it."""
