"""The training of one configuration, epoch by epoch."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.build import count_parameters
from cifar_tune.training.device import configure
from cifar_tune.training.evaluation import Tally, Validation
from cifar_tune.training.failures import require_finite
from cifar_tune.training.graphs import Graphs, graphs_on
from cifar_tune.training.learner import build_learner
from cifar_tune.training.metrics import Measures
from cifar_tune.training.repeatability import UnrepeatableOperations
from cifar_tune.training.results import EpochResult, is_over
from cifar_tune.training.steps import TrainingSteps, parts_outside


class Training:
    """One configuration on its way through its epochs.

    All randomness derives from the configuration's seed: initial weights from it alone, order, augmentation and
    dropout of an epoch from it and the epoch's number. So a training that goes on from a `state_dict` gives, on the
    CPU, bit for bit what it would have given undisturbed, whatever ran before it in the process.

    Args:
        config: what is trained.
        data: its images, on the device.
        device: where.
        graphs: what captures its steps; None: what the device has, if the configuration wants it.
        measures: further metrics of each epoch, such as `val_macro_f1`; what is not named costs nothing.
        told: of another training of the configuration, its validation losses. This one trains as many epochs, and its
            schedule is told these losses; None: its own.

    Attributes:
        parameters: learned parameters of the model.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        steps: takes the steps.
        accumulation: says whether memory made the steps be split.
        results: of the finished epochs.
    """

    def __init__(
        self,
        config: Configuration,
        data: ResidentData,
        device: torch.device,
        graphs: Graphs | None = None,
        *,
        measures: Sequence[str] = (),
        told: Sequence[float] | None = None,
    ) -> None:
        self.config = config
        self._told = told
        self.data = data
        self.device = device
        graphs = graphs or graphs_on(device, config)
        self.learner = build_learner(config, data, device, in_graph=graphs is not None)
        self.steps = TrainingSteps(self.learner, data, graphs)
        self._measures = Measures(measures, config.vocabulary)
        captures = None if parts_outside(config, "model", "activation", "norm") else graphs
        self._validation = Validation(
            self.learner.evaluated, data, config, self.learner.precision, captures, keeps_logits=bool(measures)
        )
        self.parameters = count_parameters(self.learner.model)
        self.precision = self.learner.precision
        self.accumulation = self.learner.accumulation
        self.results: list[EpochResult] = []
        self._unrepeatable = UnrepeatableOperations()

    def epochs(self) -> Iterator[EpochResult]:
        """Train until `is_over` and yield after each epoch; `state_dict` may be taken whenever one was yielded.

        Raises:
            Diverged: the training or validation loss is not finite.
        """
        while not is_over(self.config, self.results, None if self._told is None else len(self._told)):
            epoch = len(self.results) + 1
            started = time.perf_counter()
            trained = self.train_epoch(epoch)
            validated = self._validation.run()
            # The one place where the host waits for the device.
            (train_loss, train_accuracy), (val_loss, val_accuracy) = trained.read(validated)
            require_finite(epoch, "training loss", train_loss)
            require_finite(epoch, "validation loss", val_loss)
            measures = self._measured()
            self.learner.schedule.after_epoch(val_loss if self._told is None else self._told[epoch - 1])
            result = EpochResult(
                epoch=epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                val_loss=val_loss,
                val_accuracy=val_accuracy,
                lr=self.learner.lr,
                seconds=time.perf_counter() - started,
                measures=measures,
            )
            self.results.append(result)
            yield result

    def _measured(self) -> dict[str, float]:
        logits = self._validation.logits
        if logits is None:
            return {}
        return self._measures.of(logits.values, self.data.labels[self.data.val_indices])

    def train_epoch(self, epoch: int) -> Tally:
        """Take every step of the epoch; what it draws depends on the seed and the epoch's number alone.

        Raises:
            Diverged: the loss of a step is not finite; noticed here only where looking at it costs nothing.
        """
        # Here and not once: another training may have run in this process since the last epoch.
        configure(self.config, self.device)
        is_watched = self.device.type == "cuda" and self.config.flag("repeatable")
        with self._unrepeatable.noticed() if is_watched else nullcontext():
            for loss in self.steps.of_epoch(epoch):
                if self.device.type == "cpu":  # elsewhere it would wait for the device
                    require_finite(epoch, "training loss", loss.item())
        return self.steps.tally

    @property
    def remarks(self) -> list[str]:
        """What people should know of how it is trained, as far as it has shown: one line each."""
        words = (self.learner.initial_words, self.steps.words, self._validation.words, self._unrepeatable.words)
        return [each for each in words if each]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds. Its tensors are those of the training: copy them before the next epoch."""
        return {
            "config": self.config.stored(),
            "data": self.data.fingerprint,
            "epoch": len(self.results),
            "results": [result.as_dict() for result in self.results],
            **self.learner.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the training of the same configuration and data was when its `state_dict` was taken."""
        self.learner.load_state_dict(state)
        self.results = [EpochResult.from_dict(figures) for figures in state["results"]]
