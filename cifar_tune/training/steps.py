"""The steps of a training: each is one launch where it can be captured in a CUDA graph, and runs as it is elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from cifar_tune.data.batches import TrainingBatches
from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.evaluation import Tally
from cifar_tune.training.graphs import Graphs, Replayed
from cifar_tune.training.learner import Learner

WARM_UP_STEPS = 3
"""Steps that run as they are before the next one is captured: in them, optimizers make their moments, and libraries
choose their algorithms. They are steps of the training like all others, so that nothing must be put back."""

_INNERMOST = ("model", "activation", "norm", "loss")
"""Knobs whose parts are at the heart of a step: if one of them cannot be captured, nothing can."""


class TrainingSteps:
    """Takes the steps of a learner on its images, epoch after epoch.

    A step makes its batch, computes the loss and the gradients, moves the weights, and adds loss and accuracy to the
    `tally`. With `graphs`, all of that is captured after `WARM_UP_STEPS`, and again whenever something changes: where
    weights are learned no longer, a state was loaded, or an augmentation takes another form. A batch or an optimizer
    that cannot be captured runs as it is before or after the replay; a step in several parts (`Accumulation`) always
    does.

    Args:
        learner: takes the steps; it was built for graphs if there are any.
        data: the images, on its device.
        graphs: what captures the steps; None: they run as they are.

    Attributes:
        tally: of the current epoch.
    """

    def __init__(self, learner: Learner, data: ResidentData, graphs: Graphs | None) -> None:
        self.tally = Tally(learner.device)
        self._learner = learner
        self._batches = TrainingBatches(data, learner.config)
        self._replayed = None if graphs is None else Replayed[_Step](graphs, self._batches.generators)
        self._is_capturable = not parts_outside(learner.config, *_INNERMOST) and learner.has_capturable_gradients
        self._given: tuple[Tensor, Tensor] | None = None
        self._version: object = None
        self._warm = 0

    @property
    def batch_size(self) -> int:
        """Images of each step."""
        return self._batches.batch_size

    @property
    def words(self) -> str:
        """What of the steps could not be captured, for people; empty if everything was, or if nothing should be."""
        if self._replayed is None:
            return ""
        if self._replayed.problem:
            return f"steps run without a CUDA graph, which could not be captured: {self._replayed.problem}"
        config = self._learner.config
        outside = parts_outside(config, *_INNERMOST) or parts_outside(config, "augment", "optimizer", "schedule")
        if not outside:
            return ""
        names = enumerate_names(outside, "and")
        if not self._is_capturable:
            return f"steps run without a CUDA graph, which cannot hold {names}"
        return f"steps run in a CUDA graph, but for {names}"

    def of_epoch(self, epoch: int) -> Iterator[Tensor]:
        """Take the steps of an epoch, counted from 1; what they draw depends on the seed and its number.

        Yields:
            The loss of each, float32 (), on the device. It may hold another value after the next step.
        """
        self._learner.start_epoch(epoch)
        self._batches.draw_epoch(epoch)
        self.tally.reset(self._batches.steps * self.batch_size)
        version = self._learner.version, self._batches.version
        if self._replayed is not None and self._version != version:
            self._replayed.forget()
            self._learner.optimizer.zero_grad()
            self._warm = 0
        self._version = version
        for _ in range(self._batches.steps):
            yield self._take()
        self._learner.end_epoch()

    def endless(self) -> Iterator[Tensor]:
        """Take the steps of one epoch after the other, however many epochs the configuration has; see `of_epoch`."""
        for epoch in count(1):
            yield from self.of_epoch(epoch)

    def _take(self) -> Tensor:
        made = None if self._batches.are_capturable else self._batches.next_batch()
        replayed = self._replayed
        if replayed is None or not self._may_be_captured(replayed):
            return self._take_as_it_is(made)
        if not replayed.is_ready and self._warm < WARM_UP_STEPS:
            self._warm += 1
            with replayed.warming_up():
                return self._take_as_it_is(made)
        if made is not None:
            self._give(*made)
        if not replayed.is_ready:
            replayed.capture(self._captured_part)
            if replayed.problem:
                self._learner.optimizer.zero_grad()
                return self._take_as_it_is(made)
        step = replayed.replay()
        if not self._learner.moves_in_graph:
            self._learner.move()
        self._learner.after_step(step.images)
        return step.loss

    def _may_be_captured(self, replayed: "Replayed[_Step]") -> bool:
        return self._is_capturable and not replayed.problem and self._learner.accumulation.parts == 1

    def _take_as_it_is(self, made: tuple[Tensor, Tensor] | None) -> Tensor:
        images, labels = made or self._batches.next_batch()
        loss, right = self._learner.train_step(images, labels)
        self.tally.add(loss, right, len(labels))
        return loss

    def _captured_part(self) -> "_Step":
        images, labels = self._given or self._batches.next_batch()
        self._learner.optimizer.zero_grad()
        loss, right = self._learner.gradients(images, labels)
        if self._learner.moves_in_graph:
            self._learner.move()
            self._learner.optimizer.zero_grad()
        self.tally.add(loss, right, len(labels))
        return _Step(loss, images)

    def _give(self, images: Tensor, labels: Tensor) -> None:
        """Put a batch where the captured part of the step finds it."""
        if self._given is None:
            self._given = images.clone(), labels.clone()
            return
        for target, source in zip(self._given, (images, labels), strict=True):
            target.copy_(source)


@dataclass(frozen=True, slots=True)
class _Step:
    """What the captured part of a step leaves behind."""

    loss: Tensor
    images: Tensor


def parts_outside(config: Configuration, *owners: str) -> list[str]:
    """The chosen parts that a CUDA graph cannot hold, such as `optimizer lion`."""
    return [
        f"{owner} {name}"
        for owner in owners
        if owner in config
        for name in (config.names(owner) if owner == "augment" else (config.text(owner),))
        if not config.vocabulary.parts(owner)[name].is_capturable
    ]
