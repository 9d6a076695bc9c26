"""A few steps of a configuration: whether it runs, how fast, how much memory it takes, and how fast beside others."""

import math
import pickle
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from statistics import median

import torch

from cifar_tune.data.batches import training_batches, validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.models.build import count_parameters
from cifar_tune.training.device import bind
from cifar_tune.training.evaluation import evaluate
from cifar_tune.training.failures import is_out_of_memory, release
from cifar_tune.training.graphs import graphs_on
from cifar_tune.training.learner import build_learner
from cifar_tune.training.metrics import Measures
from cifar_tune.training.steps import WARM_UP_STEPS, TrainingSteps

TIMED_STEPS = 3

VALIDATED_IMAGE = 1 / 3
"""Of the cost of a training image: a forward pass, where that one takes a backward pass of about twice as much too."""

_ONE_VALUE = "Expected more than 1 value per channel"
"""So torch's batch norm begins its complaint."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the steps showed.

    Attributes:
        parameters: learned parameters of the model.
        seconds_per_step: median over the timed steps: of drawing a batch, forward, backward and optimizer.
    """

    parameters: int
    seconds_per_step: float


def probe(config: Configuration, data: ResidentData, device: torch.device) -> Probe:
    """Take one step to warm up and a few timed ones, on batches of the training images.

    Args:
        config: what is trained.
        data: its images, on the device.
        device: where.

    Raises:
        UserError: the images are too small for the model, or the batch for its norms.
        CheckError: memory runs out, or already the first loss is not finite.
    """
    try:
        return _probe(config, data, device)
    except ValueError as error:
        if _ONE_VALUE not in str(error):
            raise
        _, height, width = data.image_shape
        rule = (
            f"batch norm needs more than one value per channel, and of images {height}x{width} the last layers "
            f"of model {config.text('model')} leave one; take 2 or more"
        )
        raise UserError(Problem(rule, "train.batch_size", config.integer("batch_size"))) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        words = f", width {config['width']}" if "width" in config else ""
        raise CheckError(
            f"model {config.text('model')} does not fit into the memory of {device} "
            f"(batch_size {config.integer('batch_size')}{words})"
        ) from error


def _probe(config: Configuration, data: ResidentData, device: torch.device) -> Probe:
    graphs = graphs_on(device, config)
    untimed = 1 if graphs is None else WARM_UP_STEPS + 1
    # As many steps per epoch as are taken, so that no schedule runs out.
    learner = build_learner(config, data, device, untimed + TIMED_STEPS, in_graph=graphs is not None)
    losses = TrainingSteps(learner, data, graphs).endless()
    first = next(losses).item()  # .item() waits for the device
    if not math.isfinite(first):
        raise CheckError(
            f"loss {config.text('loss')} of model {config.text('model')} is {first} before anything was learned"
        )
    for _ in range(untimed - 1):
        next(losses).item()
    seconds = []
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        next(losses).item()
        seconds.append(time.perf_counter() - started)
    return Probe(count_parameters(learner.model), median(seconds))


_WARMING_STEPS = WARM_UP_STEPS + 2
_MOST_STEPS = 1_000_000
"""Of the one epoch that the schedule is made for, so that none runs out."""


class Rehearsal:
    """A training that has taken its first steps, compiled if it is to be, and waits for the others.

    Args:
        config: what is trained.
        data: the images, on the device.
        device: where.
    """

    def __init__(self, config: Configuration, data: ResidentData, device: torch.device) -> None:
        graphs = graphs_on(device, config)
        learner = build_learner(config, data, device, _MOST_STEPS, in_graph=graphs is not None)
        self._steps = TrainingSteps(learner, data, graphs)
        self._losses = self._steps.endless()
        *_, loss = islice(self._losses, _WARMING_STEPS)
        loss.item()  # waits for the device

    def images_per_second(self, seconds: float) -> float:
        """Train for some seconds, one step at least, augmentation included."""
        started = time.perf_counter()
        images = 0
        while not images or time.perf_counter() - started < seconds:
            loss = next(self._losses)
            images += self._steps.batch_size
        loss.item()
        return images / (time.perf_counter() - started)


def images_per_epoch(data: ResidentData) -> float:
    """How many images could be trained on in the time of an epoch and its validation."""
    return data.train_size + VALIDATED_IMAGE * data.val_size


def peak_memory(configs: Sequence[Configuration], data: ResidentData, device: torch.device) -> int:
    """Bytes that torch holds on a CUDA device at most, the images included, while each configuration trains.

    A batch of validation images counts too. Elsewhere it is 0.
    """
    if device.type != "cuda":
        return 0
    peak = 0
    for config in configs:
        bind(device)
        release(device)
        torch.cuda.reset_peak_memory_stats(device)
        for _ in few_steps(config, data, device):
            pass
        peak = max(peak, torch.cuda.max_memory_reserved(device))
    release(device)
    return peak


def few_steps(config: Configuration, data: ResidentData, device: torch.device) -> Generator[None, None, None]:
    """Take a few steps and validate a batch: by then optimizers have their moments, and a CUDA graph its memory.

    Yields:
        When the model is built, and after each step: the device has nothing left to do.
    """
    graphs = graphs_on(device, config)
    learner = build_learner(config, data, device, _MOST_STEPS, in_graph=graphs is not None)
    yield
    steps = TrainingSteps(learner, data, graphs)
    for loss in islice(steps.endless(), 2 if graphs is None else _WARMING_STEPS):
        loss.item()
        yield
    evaluate(learner.evaluated, islice(validation_batches(data, config), 1), learner.precision, device)


def room(device: torch.device) -> tuple[int, int]:
    """Bytes of a CUDA device that are free or held by this process's torch, and its whole memory; elsewhere 0."""
    if device.type != "cuda":
        return 0, 0
    free, total = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device), total


def probe_measures(names: Sequence[str], vocabulary: Vocabulary, data: ResidentData) -> None:
    """Compute further metrics once, of a model that says whatever it likes of the validation images.

    Raises:
        CheckError: a metric of a plugin gives no finite number.
        Exception: whatever else the code of a plugin raises.
    """
    logits = torch.randn(data.val_size, len(data.classes), generator=torch.Generator().manual_seed(0))
    Measures(names, vocabulary).of(logits, data.labels[data.val_indices])


def probe_plugins(config: Configuration, data: ResidentData, device: torch.device) -> None:
    """Augment a batch, take a step on it, validate, and go on from a checkpoint.

    Raises:
        CheckError: the model's outputs are not what a loss takes, or a checkpoint cannot hold a part's state.
        Exception: whatever else the code of a plugin raises.
    """
    classes = len(data.classes)
    learner = build_learner(config, data, device, steps_per_epoch=2)
    images, labels = next(training_batches(data, config, epoch=1))
    if images.shape[1:] != data.image_shape:
        names = "+".join(config.names("augment"))
        raise CheckError(f"augment {names} makes {tuple(images.shape)} of images {data.image_shape}")
    learner.model.eval()
    with torch.no_grad():
        inputs, _ = next(validation_batches(data, config))
        logits = learner.model(inputs)
    if logits.shape != (len(inputs), classes):
        raise CheckError(
            f"model {config.text('model')} makes {tuple(logits.shape)} of {len(inputs)} images; "
            f"it must make one number per image and class, {(len(inputs), classes)}"
        )
    learner.begin_epoch(1)
    learner.train_step(images, labels)
    learner.end_epoch()
    learner.schedule.after_epoch(1.0)
    content = BytesIO()
    torch.save(learner.state_dict(), content)
    content.seek(0)
    try:
        state = torch.load(content, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("WeightsUnpickler error: ")[2].partition("\n")[0]
        raise CheckError(
            f"no training could go on from a checkpoint: the state of model {config.text('model')}, optimizer "
            f"{config.text('optimizer')} or schedule {config.text('schedule')} must hold tensors, numbers, text, lists "
            f"and dictionaries only: {reason}"
        ) from error
    build_learner(config, data, device, steps_per_epoch=2).load_state_dict(state)
