"""What a coordinator needs of a pool of executors, wherever they run."""

from collections.abc import Callable
from typing import Protocol

from cifar_tune.executors.messages import Died, Job, Report, Verdict


class Executors(Protocol):
    """What a coordinator needs of a pool of executors."""

    @property
    def workers(self) -> int:
        """How many trials can run at a time; fewer than at first where executors refused, in the end none."""
        ...

    def idle(self) -> bool:
        """Whether an executor is ready for a job."""
        ...

    def submit(self, job: Job) -> None:
        """Give a job to an idle executor."""
        ...

    def answer(self, number: int, verdict: Verdict) -> None:
        """Answer the executor that trains trial `number`."""
        ...

    def finished(self, number: int) -> None:
        """The executor of trial `number` is free again."""
        ...

    def kill(self, number: int) -> None:
        """End the executor that trains trial `number` at once, without a word in `reports`, and begin another."""
        ...

    def reports(self, timeout: float) -> list[Report | Died]:
        """What executors have said. One that `Refused` is given up."""
        ...

    def close(self, at_once: Callable[[], bool]) -> None:
        """End all executors."""
        ...
