"""A training whose steps are captured gives the same numbers, to the bit, as one whose steps run as they are."""

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import keystr, tree_flatten_with_path

from cifar_tune.data.augmentation.draw import Change, Draw
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.augmentations import AUGMENTATIONS, AugmentationPart
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.lookaheads import LOOKAHEADS
from cifar_tune.knobs.losses import LOSSES
from cifar_tune.knobs.norms import NORMS
from cifar_tune.knobs.optimizers import OPTIMIZERS, SCHEDULE_FREE
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.models.build import build_model
from cifar_tune.training.checkpoint import save
from cifar_tune.training.checkpoint_fit import go_on
from cifar_tune.training.graphs import Graphs
from cifar_tune.training.loop import Training
from cifar_tune.training.optimizers import build_optimizer
from cifar_tune.training.steps import WARM_UP_STEPS
from tests.digits import digits_of
from tests.exhaustive import few_of, first_of_each
from tests.taped_graphs import RefusedError, Taped, TapedGraphs

from .conftest import CPU, ONE_OF_EACH, small
from .test_learner import moved as moved_to

T = TypeVar("T")


class Repeated(Generic[T]):
    """Runs the work again instead of replaying it."""

    is_sound = True

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work

    def replay(self) -> None:
        self.result = self._work()


class Repeating:
    """Trains as for graphs, and captures nothing."""

    def warm_up(self) -> AbstractContextManager[Sequence[str]]:
        return nullcontext(())

    def capture(self, work: Callable[[], T], generators: Iterable[torch.Generator]) -> Repeated[T]:
        return Repeated(work)


@pytest.fixture(autouse=True)
def capturable_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch's optimizers do where they are captured runs on the CPU too, but they refuse it there."""
    for module in ("adadelta", "adam", "nadam", "radam", "rmsprop"):
        module_itself = sys.modules[f"torch.optim.{module}"]
        monkeypatch.setattr(module_itself, "_get_capturable_supported_devices", lambda *_, **__: ["cpu", "cuda"])


@pytest.fixture(autouse=True)
def small_evaluation_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three full ones, and a rest."""
    monkeypatch.setattr("cifar_tune.data.batches.EVALUATION_BATCH", 30)


def trained(config: Configuration, data: ResidentData, graphs: Graphs | None) -> Training:
    training = Training(config, data, CPU, graphs)
    list(training.epochs())
    return training


def figures(training: Training) -> list[dict[str, int | float]]:
    return [{**result.as_dict(), "seconds": 0} for result in training.results]


def state(training: Training) -> dict[str, Any]:
    """All that a checkpoint holds, by its place."""
    return {keystr(path): leaf for path, leaf in tree_flatten_with_path(training.learner.state_dict())[0]}


def assert_same(first: Training, second: Training) -> None:
    assert figures(first) == figures(second)
    one, other = state(first), state(second)
    assert one.keys() == other.keys()
    different = {
        place: (value, other[place])
        for place, value in one.items()
        if not (torch.equal(value, other[place]) if isinstance(value, Tensor) else value == other[place])
    }
    assert not different


def assert_close(first: Training, second: Training) -> None:
    """The same but for rounding."""
    one, other = state(first), state(second)
    assert one.keys() == other.keys()
    for place, value in one.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(value, other[place], rtol=1e-2, atol=1e-3)
        else:
            assert value == other[place] or value == pytest.approx(other[place], rel=1e-2), place


TINY = {"resnet18": 2, "shallow_bottlenecks": 1, "resnet20": 2, "shallow_densenet": 4, "vgg11": 2, "airbench_net": 2}
"""Widths."""

MODELS: list[dict[str, Value]] = [{"model": model, "width": TINY.get(model, 4)} for model in ONE_OF_EACH]

EVERYTHING: list[dict[str, Value]] = [
    *[dict[str, Value](activation=activation) for activation in ACTIVATIONS],
    *[dict[str, Value](norm=norm, norm_groups=2) for norm in NORMS],
    *[dict[str, Value](schedule=schedule, warmup_epochs=0.5) for schedule in SCHEDULES],
    *[dict[str, Value](loss=loss) for loss in LOSSES],
    *[dict[str, Value](augment=(augmentation,)) for augmentation in AUGMENTATIONS],
    *[dict[str, Value](lookahead=name, lookahead_steps=2) for name in LOOKAHEADS],
    *[dict[str, Value](test_time_augmentation=name) for name in TEST_TIME_AUGMENTATIONS],
    {"ema_decay": 0.99, "clip_grad_norm": 1.0, "l1": 1e-3, "decay_norm_and_bias": False, "label_smoothing": 0.1},
    {"dropout": 0.3, "augment": ("random_crop", "gaussian_noise", "mixup", "cutmix"), "loss": "focal"},
    {"on_oom": "accumulate", "batch_size": 64},
    {"sampling": "balanced", "class_weights": "balanced", "label_smoothing": 0.1},
    {"precision": "bf16"},
]

ONE_OF_EACH_KIND = first_of_each(EVERYTHING, tuple)

FEW_OPTIMIZERS = ("sgd", "adamw", "lion", "sgd_schedule_free")
"""Of the quick tests: two that a graph holds, and two that it does not."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """200 training and 100 validation images of 32x32 pixels: six steps per epoch."""
    return digits_of(32, tmp_path_factory)


@pytest.mark.parametrize(
    "chosen", few_of(MODELS, [MODELS[ONE_OF_EACH.index("cnn2")], MODELS[-1]]), ids=lambda chosen: chosen["model"]
)
def test_every_model_trains_the_same_where_it_is_captured(chosen: dict[str, Value], images: ResidentData) -> None:
    check_against_plain(small(epochs=2, batch_size=64, **chosen), images)


@pytest.mark.parametrize(
    "chosen",
    few_of(EVERYTHING, ONE_OF_EACH_KIND),
    ids=lambda chosen: "-".join(map(str, chosen.values())),
)
def test_everything_trains_the_same_where_it_is_captured(chosen: dict[str, Value], digits: ResidentData) -> None:
    check_against_plain(small(**{"batch_size": 64, **chosen}), digits)


def check_against_plain(config: Configuration, data: ResidentData) -> None:
    graphs = TapedGraphs()
    config = config.replaced(optimizer="sgd", momentum=0.9, weight_decay=1e-3)
    captured = trained(config, data, graphs)
    assert_same(captured, trained(config, data, None))
    steps, validation = graphs.captured
    epochs = config.integer("epochs")
    assert steps.replays == epochs * (200 // config.integer("batch_size")) - WARM_UP_STEPS
    assert validation.replays == (epochs - 1) * 3
    assert captured.steps.words == ""


@pytest.mark.parametrize("optimizer", few_of(OPTIMIZERS, FEW_OPTIMIZERS))
def test_every_optimizer_trains_the_same_where_it_is_captured(optimizer: str, digits: ResidentData) -> None:
    config = small(
        optimizer=optimizer, schedule="constant" if optimizer in SCHEDULE_FREE else "one_cycle", weight_decay=1e-3,
        batch_size=64, clip_grad_norm=1.0, ema_decay=0.0 if optimizer in SCHEDULE_FREE else 0.9,
        decay_norm_and_bias=False, norm_bias_lr_factor=4.0,
    )  # fmt: skip
    graphs = TapedGraphs()
    captured = trained(config, digits, graphs)
    assert_same(captured, trained(config, digits, Repeating()))
    assert graphs.captured[0].replays == 9 - WARM_UP_STEPS
    assert captured.learner.moves_in_graph == OPTIMIZERS[optimizer].is_capturable
    assert (optimizer in captured.steps.words) != captured.learner.moves_in_graph
    plain = trained(config, digits, None)  # numbers of the host are rounded at other places
    assert_close(captured, plain)


@pytest.mark.parametrize("optimizer", few_of(OPTIMIZERS, FEW_OPTIMIZERS))
@pytest.mark.parametrize("begins", ["captured", "plain"])
def test_a_checkpoint_of_one_is_continued_by_the_other(
    optimizer: str, begins: str, digits: ResidentData, tmp_path: Path
) -> None:
    schedule = "constant" if optimizer in SCHEDULE_FREE else "one_cycle"
    config = small(optimizer=optimizer, schedule=schedule, lr=1e-3, epochs=2, batch_size=50)
    assert WARM_UP_STEPS < 200 // 50, "the first epoch has a captured step"
    file = tmp_path / "state"

    def begun(graphs: Graphs | None) -> Training:
        training = Training(config, digits, CPU, graphs)
        next(training.epochs())
        save(file, training.state_dict())
        return training

    first = begun(TapedGraphs() if begins == "captured" else None)
    other = Training(config, digits, CPU, None if begins == "captured" else TapedGraphs())
    go_on(other, file)
    assert_same(first, other)
    for training in (first, other):
        list(training.epochs())
    assert_close(first, other)
    if optimizer == "sgd":
        assert_same(first, other)


def test_a_captured_training_that_goes_on_is_the_undisturbed_one(digits: ResidentData, tmp_path: Path) -> None:
    config = small(optimizer="adam", ema_decay=0.9, dropout=0.2, augment=("gaussian_noise",))
    whole = trained(config, digits, TapedGraphs())
    for epochs in (1, 2):
        begun = Training(config, digits, CPU, TapedGraphs())
        running = begun.epochs()
        for _ in range(epochs):
            next(running)
        save(tmp_path / "state", begun.state_dict())
        again = Training(config, digits, CPU, TapedGraphs())
        go_on(again, tmp_path / "state")
        list(again.epochs())
        assert_same(again, whole)


def test_steps_are_captured_again_once_a_weight_is_learned_no_longer(larger_digits: ResidentData) -> None:
    config = small(model="airbench_net", width=2, epochs=4, whitening_bias_epochs=2)
    graphs = TapedGraphs()
    captured = trained(config, larger_digits, graphs)
    assert_same(captured, trained(config, larger_digits, None))
    assert [taped.replays for taped in graphs.captured] == [2 * 6 - WARM_UP_STEPS, 3 * 3, 2 * 6 - WARM_UP_STEPS]


def test_a_state_that_is_loaded_is_what_goes_on(digits: ResidentData) -> None:
    """Loading puts new moments in the place of those that were captured."""
    config = small(optimizer="adam", epochs=4)
    graphs = TapedGraphs()
    training = Training(config, digits, CPU, graphs)
    running = training.epochs()
    next(running)
    kept = deepcopy(training.state_dict())
    next(running)
    next(running)
    training.load_state_dict(kept)
    list(training.epochs())
    assert_same(training, trained(config, digits, TapedGraphs()))


def test_scaled_losses_are_captured(digits: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp32: on the CPU float16 is too slow, and the scaling is what is of interest."""
    for place in ("learner", "evaluation"):
        monkeypatch.setattr(f"cifar_tune.training.{place}.autocast", lambda *_: nullcontext())
    config = small(precision="fp16", optimizer="sgd", clip_grad_norm=1.0)
    graphs = TapedGraphs()
    captured = trained(config, digits, graphs)
    assert_same(captured, trained(config, digits, None))
    assert graphs.captured[0].replays == 18 - WARM_UP_STEPS
    outside = trained(config.replaced(optimizer="lion", lr=1e-4), digits, TapedGraphs())
    assert outside.steps.words == "steps run without a CUDA graph, which cannot hold optimizer lion"


class Unable(TapedGraphs):
    """Captures half of the work, and fails."""

    def capture(self, work: Callable[[], T], generators: Iterable[torch.Generator]) -> Taped[T]:
        super().capture(work, generators)
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


def test_what_cannot_be_captured_runs_as_it_is_and_says_so(digits: ResidentData) -> None:
    config = small(optimizer="sgd", ema_decay=0.9, augment=("gaussian_noise",), dropout=0.2)
    graphs = Unable()
    training = trained(config, digits, graphs)
    assert_same(training, trained(config, digits, None))
    assert len(graphs.captured) == 2  # tried once each, the steps and the validation
    assert training.steps.words == (
        "steps run without a CUDA graph, which could not be captured: operation not permitted when stream is capturing"
    )


class FailsAtTheValidation(TapedGraphs):
    """Captures the steps; that of the validation fails, and leaves neither of them sound, as on a GPU."""

    def capture(self, work: Callable[[], T], generators: Iterable[torch.Generator]) -> Taped[T]:
        taped = super().capture(work, generators)
        if len(self.captured) == 2:
            self.captured[0].is_sound = False
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return taped


def test_steps_are_captured_again_after_another_capture_has_failed(digits: ResidentData) -> None:
    config = small(optimizer="sgd", momentum=0.9, dropout=0.2, augment=("gaussian_noise",))
    graphs = FailsAtTheValidation()
    training = trained(config, digits, graphs)
    assert_same(training, trained(config, digits, None))
    assert [taped.replays for taped in graphs.captured] == [2 * 6 - WARM_UP_STEPS, 0, 6]
    assert training.remarks == ["validations run without a CUDA graph, which could not be captured: memory ran out"]


def by_turns(draw: Draw, *, plain: bool) -> Change | Callable[[Tensor, slice], Tensor]:
    """An augmentation of a plugin that does in odd epochs what it does not in even ones."""
    if draw.epoch.number % 2:
        return Change(lambda images, share: images * share[:, None, None, None], (draw.uniform(0.5, 1),))
    return (lambda images, _: images - 1) if plain else Change(lambda images: images - 1)


@pytest.mark.parametrize(("plain", "captures"), [(False, 4), (True, 3)], ids=["changes", "functions"])
def test_an_augmentation_that_takes_another_form_is_captured_anew(
    plain: bool, captures: int, digits: ResidentData
) -> None:
    part = AugmentationPart(
        partial(by_turns, plain=plain), "changes from epoch to epoch", stage="inputs", capturable=True
    )
    vocabulary = vocabulary_with([Plugin("own.py", "0", {"augment": {"own": part}}, {})])
    config = complete({**small(optimizer="sgd"), "augment": ("own",)}, vocabulary)
    graphs = TapedGraphs()
    training = Training(config, digits, CPU, graphs)
    list(training.epochs())
    assert len(graphs.captured) == captures  # the validation is one of them
    assert_same(training, trained(config, digits, None))


def test_steps_in_parts_run_as_they_are(digits: ResidentData) -> None:
    config = small(optimizer="sgd", on_oom="accumulate", norm="none")
    graphs = TapedGraphs()
    training = Training(config, digits, CPU, graphs)
    training.accumulation.parts = 2
    list(training.epochs())
    assert len(graphs.captured) == 1  # the validation alone
    halves = Training(config, digits, CPU)
    halves.accumulation.parts = 2
    list(halves.epochs())
    assert_same(training, halves)


@pytest.mark.parametrize("optimizer", ["nadam", "radam", "adadelta", "rmsprop"])  # no fake kernels of fused ones
def test_an_optimizer_in_a_graph_reads_no_number_of_a_gpu(optimizer: str) -> None:
    """Fake tensors of a GPU take the ways of torch's optimizers that real ones take, and have no numbers."""
    config = small(optimizer=optimizer, weight_decay=1e-3)
    with FakeTensorMode():
        model = moved_to(build_model(config, (3, 8, 8), 10), torch.device("cuda"))
        moved = build_optimizer(config, model, torch.device("cuda"), in_graph=True)
        for _ in range(2):
            for weight in model.parameters():
                weight.grad = torch.zeros_like(weight)
            moved.step()
            moved.param_groups[0]["lr"].fill_(0.5)
        numbers = [value for state in moved.state.values() for value in state.values()]
        assert all(isinstance(value, Tensor) and value.device.type == "cuda" for value in numbers)


def test_plain_code_in_a_capture_is_refused() -> None:
    place = torch.zeros(3)
    for work in (
        lambda: place.sum().item(),
        lambda: place[place > 0],
        lambda: place.add_(torch.tensor(2.0)),
        lambda: place.add_(torch.rand(3, generator=torch.Generator())),
        lambda: place.scatter_(0, torch.arange(3), torch.ones(3)),
        lambda: place.index_copy_(0, torch.arange(3), torch.ones(3)),
        lambda: place.__setitem__(torch.arange(3), torch.ones(3)),
    ):
        with pytest.raises(RefusedError):
            TapedGraphs().capture(work, ())
    assert place.tolist() == [0, 0, 0]


def test_a_replay_knows_nothing_of_new_numbers_of_the_host() -> None:
    """Else these tests would not notice a learning rate that is baked in."""
    place, numbers = torch.zeros(1), [1.0]
    taped = TapedGraphs().capture(lambda: place.add_(numbers[0]) * 2, ())
    assert place.item() == 0
    numbers[0] = 5.0
    taped.replay()
    taped.replay()
    assert place.item() == 2
    assert taped.result.item() == 4
