"""A study whose trials are planned, not drawn: what the coordinator asks, and whoever plans them answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from optuna.trial import FrozenTrial

from cifar_tune.data.folds import Part
from cifar_tune.knobs.part import Scalar
from cifar_tune.storage import attributes


@dataclass(frozen=True, slots=True)
class Task:
    """One planned training.

    Attributes:
        candidate: which of the configurations that are compared, from 0.
        block: which seed and images it shares with others, from 0.
        seed: that it trains with, in place of that of its configuration.
        fold: of the images, from 1; 0 for the study's own split.
        params: what a sampler would have suggested.
    """

    candidate: int
    block: int
    seed: int
    fold: int = 0
    params: Mapping[str, Scalar] = field(default_factory=dict)

    def plain(self) -> dict[str, int]:
        """As its trial keeps it: without the parameters, which Optuna keeps."""
        plain = asdict(self)
        del plain["params"]
        return plain


def task_of(trial: FrozenTrial) -> Task | None:
    """The task that the trial is; None if it is none."""
    return read_task(trial.user_attrs.get(attributes.TASK))


def read_task(plain: Mapping[str, int] | None) -> Task | None:
    """The task that `plain` has described; None if it is none."""
    return None if plain is None else Task(plain["candidate"], plain["block"], plain["seed"], plain["fold"])


class Script(Protocol):
    """Plans the trainings of a study, one after the other.

    Attributes:
        keeps_checkpoints: whether those of trials that have ended are kept too.
        told: as `Job` has it.
    """

    @property
    def keeps_checkpoints(self) -> bool: ...  # noqa: D102
    @property
    def told(self) -> tuple[float, ...] | None: ...  # noqa: D102

    def next(self, trials: Sequence[FrozenTrial]) -> Task | None:
        """The next training; None where it is over, or where it depends on one that is still running."""
        ...

    def part(self, task: Task) -> Part:
        """The images of a task."""
        ...

    def news(self, trials: Sequence[FrozenTrial]) -> Sequence[str]:
        """What has been decided since it was asked last: sentences without a full stop."""
        ...
