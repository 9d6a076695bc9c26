"""How close a whole epoch comes to the bare steps, and what one more executor costs in memory."""

import multiprocessing
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.measuring import digits, seconds_of, spread, table
from benchmarks.question import Options, run
from benchmarks.real_executors import started_executors, train_together
from cifar_tune.data.batches import EVALUATION_BATCH
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.models.build import build_model
from cifar_tune.training.device import autocast, configure, resolve_precision

_BATCH = 128
_MEGABYTE = 1e6
_FEW_IMAGES = 2_000


@dataclass(frozen=True, slots=True)
class Case:
    """A network, the images of an epoch, and the share of the bare speed that is wanted."""

    model: str
    width: int
    train: int
    wanted: float


CASES = (
    Case("tutorial_net", 6, 45_000, 0.85),
    Case("cnn3", 64, 4_500, 0.95),
    Case("resnet18", 16, 4_500, 0.95),
)
QUICK_CASES = (
    Case("tutorial_net", 6, 4_500, 0.85),
    Case("cnn3", 64, 900, 0.95),
    Case("resnet18", 16, 900, 0.95),
)


@dataclass(frozen=True, slots=True)
class Bare:
    """Images per second of bare training steps, and of bare forward passes in evaluation mode."""

    training: float
    evaluation: float


def measure(options: Options) -> Sequence[str]:
    """The speed of epochs in an executor beside bare steps in another process; then the memory of executors."""
    rounds = 2 if options.quick else 5
    with started_executors(1) as executors, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as bare:
        cases = QUICK_CASES if options.quick else CASES
        rows = [_measured(case, options, rounds, executors, bare) for case in cases]
    header = ("network", "bare steps, images/s", "whole epoch, images/s", "ratio", "wanted", "ratio without evaluation")
    memory_header = (
        "executors", "proportional memory in all, MB", "private per executor, MB",
        "private on few images, MB", "growth, share of the images", "images copied, MB",
    )  # fmt: skip
    counts = (1, 2) if options.quick else (1, 2, 4)
    return [
        "## A whole epoch against bare steps",
        f"One executor with one thread, {rounds} rounds. A bare step is the forward and backward pass and the "
        "optimizer step on one batch that is already in memory, in the same precision and memory format. A whole epoch "
        "also draws and applies random crop and flip, evaluates a ninth as many images, writes a checkpoint and sends "
        "messages. Images per second are training images. The last column leaves out the time that bare forward "
        "passes over the validation images take.",
        table(header, rows),
        "### Memory",
        "All executors train the tutorial net at the same time. The table shows the highest figures after a first "
        'training. "Growth" is by how much an executor\'s private memory is larger than when it trains on '
        f'{_FEW_IMAGES:,} images, divided by the size of all images. Wanted: less than 0.15. "Images copied" is how '
        "much of the memory-mapped images an executor has copied for itself.",
        table(memory_header, [_memory(count, options) for count in counts]),
    ]


def recipe(model: str, width: int, epochs: int) -> Configuration:
    """What is trained."""
    return complete(
        {
            "model": model, "width": width, "optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4,
            "batch_size": _BATCH, "epochs": epochs, "augment": ("random_crop", "horizontal_flip"),
        }
    )  # fmt: skip


def _measured(
    case: Case, options: Options, rounds: int, executors: LocalExecutors, bare: ProcessPoolExecutor
) -> Sequence[object]:
    val = case.train // 9
    data = options.images.sized(case.train, val)
    train, val = data.train_size or case.train, data.val_size or val
    config = recipe(case.model, case.width, 3)

    def whole(_round: int) -> float:
        _, (trained,) = train_together(executors, [config], data, options.scratch / "limit")
        first, *_, last = trained.epochs  # the first epoch warms up
        return train // _BATCH * _BATCH * (len(trained.epochs) - 1) / (last - first)

    def steps(_round: int) -> Bare:
        return bare.submit(_bare, config, train // _BATCH).result()

    def both(number: int) -> tuple[float, Bare]:
        if number % 2:  # in turns
            speed = whole(number)
            return speed, steps(number)
        bare_speeds = steps(number)
        return whole(number), bare_speeds

    pairs = [both(number) for number in range(rounds)]
    speeds = [speed for speed, _ in pairs]
    bare_speeds = [each.training for _, each in pairs]
    without = [1 / (train / speed - val / each.evaluation) * train / each.training for speed, each in pairs]
    return (
        f"{case.model}, width {case.width}",
        digits(spread(bare_speeds).median),
        digits(spread(speeds).median),
        f"**{spread([speed / each.training for speed, each in pairs])}**",
        f"{case.wanted:g}",
        str(spread(without)),
    )


def _bare(config: Configuration, steps: int) -> Bare:
    """The target of a process."""
    device = torch.device("cpu")
    configure(config, device)
    model = build_model(config, (3, 32, 32), 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-4, momentum=config.number("momentum"), weight_decay=5e-4, fused=True
    )
    precision = resolve_precision(config, device)
    images = torch.randn(_BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (_BATCH,))

    def step() -> None:
        with autocast(precision, device):
            logits = model(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    training = _BATCH / seconds_of(step, steps)
    batch = torch.randn(EVALUATION_BATCH, 3, 32, 32).to(memory_format=torch.channels_last)
    model.eval()
    with torch.inference_mode(), autocast(precision, device):
        evaluation = EVALUATION_BATCH / seconds_of(lambda: model(batch), max(2, steps // 12))
    return Bare(training, evaluation)


@dataclass(slots=True)
class Peak:
    """The highest figures of all executors, in bytes: shared pages divided among them, and their own ones."""

    proportional: float = 0.0
    private: float = 0.0
    copied: float = 0.0


def _memory(count: int, options: Options) -> Sequence[object]:
    many = options.images.sized(45_000, 5_000)
    few = many.model_copy(update={"train_size": _FEW_IMAGES})
    size = prepare(many).open_images().nbytes
    whole, small = _peak(count, many, options.scratch), _peak(count, few, options.scratch)
    growth = (whole.private - small.private) / count / size
    return (
        count,
        digits(whole.proportional / _MEGABYTE),
        digits(whole.private / count / _MEGABYTE),
        digits(small.private / count / _MEGABYTE),
        "- (nobody to share with)" if count == 1 else f"**{growth:.3f}** of {digits(size / _MEGABYTE)} MB",
        digits(whole.copied / count / _MEGABYTE),
    )


def _peak(count: int, data: DataSpec, scratch: Path) -> Peak:
    peak = Peak()
    with started_executors(count) as executors:
        config = recipe("tutorial_net", 6, 3)
        train_together(executors, [config] * count, data, scratch / "memory")  # everybody has seen every page
        pids = [child.pid for child in multiprocessing.active_children() if "executor" in child.name]

        def look() -> None:
            rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
            peak.proportional = max(peak.proportional, sum(_kilobytes(text, "Pss") for text in rollups))
            private = sum(_kilobytes(text, "Private_Clean") + _kilobytes(text, "Private_Dirty") for text in rollups)
            peak.private = max(peak.private, private)
            peak.copied = max(peak.copied, sum(_copied(Path(f"/proc/{pid}/smaps").read_text()) for pid in pids))

        train_together(executors, [config] * count, data, scratch / "memory", look)
    return peak


def _kilobytes(text: str, name: str) -> float:
    """The sum of a figure of smaps, in bytes."""
    return 1024.0 * sum(int(found) for found in re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE))


def _copied(smaps: str) -> float:
    """Bytes of changed pages in mappings of cached images."""
    mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", smaps, flags=re.MULTILINE)
    return sum(_kilobytes(each, "Private_Dirty") for each in mappings if ".images.npy" in each.partition("\n")[0])


if __name__ == "__main__":
    run({"limit": measure})
