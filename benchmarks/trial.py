"""One training run against the loop that everybody writes: how much sooner it is over, and whether it is as good."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from statistics import mean, stdev

import torch

from benchmarks.classic_loop import ClassicData, ClassicResult, train_classic
from benchmarks.machine import cores
from benchmarks.measuring import digits, interleaved, ratios, table
from benchmarks.question import Options, run
from benchmarks.real_executors import started_executors, train_together
from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.knobs.configuration import Configuration, complete

WANTED = 4.0


@dataclass(frozen=True, slots=True)
class Case:
    """A network and how long it is trained."""

    model: str
    width: int
    lr: float
    train: int
    val: int
    epochs: int

    @property
    def label(self) -> str:
        """Such as `cnn3, width 64`."""
        return f"{self.model}, width {self.width}"


CASES = (
    Case("tutorial_net", 6, 0.02, 45_000, 5_000, 3),
    Case("cnn3", 64, 0.05, 5_000, 2_000, 4),
    Case("resnet18", 16, 0.05, 5_000, 2_000, 4),
)
QUICK_CASES = (
    Case("tutorial_net", 6, 0.02, 4_000, 500, 1),
    Case("cnn3", 64, 0.05, 512, 200, 1),
    Case("resnet18", 16, 0.05, 512, 200, 1),
)


def recipe(case: Case, seed: int) -> Configuration:
    """The same training for both sides."""
    return complete(
        {
            "model": case.model,
            "width": case.width,
            "zero_init_residual": False,
            "optimizer": "sgd",
            "lr": case.lr,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "batch_size": 128,
            "epochs": case.epochs,
            "augment": ("random_crop", "horizontal_flip"),
            "seed": seed,
        }
    )


def measure(options: Options) -> Sequence[str]:
    """Whole trials: building the model, all epochs, every evaluation; ours with checkpoints and messages."""
    rounds = 2 if options.quick else 3
    with (
        started_executors(cores()) as executors,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as classic,
    ):
        cases = QUICK_CASES if options.quick else CASES
        rows = [_measured(case, options, rounds, executors, classic) for case in cases]
    header = (
        "network",
        "images x epochs",
        "classic loop, s",
        "ours, s per trial",
        "ratio",
        "accuracy, classic",
        "ours",
    )
    return [
        "## One training run against the loop that everybody writes",
        f"Whole trials with the same recipe (SGD, one-cycle, random crop and flip, batches of 128), {rounds} rounds, "
        "each with another seed. The classic loop has a torchvision-style dataset, PIL transforms, a DataLoader (the "
        f"better of 0 and 2 workers), fp32, NCHW and {cores()} threads. Ours has {cores()} executors with one thread "
        "each, which train as many trials at the same time, so the time per trial is the whole time divided by the "
        "number of trials. It has `precision: auto`, and checkpoints and messages count. Wanted: a ratio of "
        f"{WANTED:g} at the same accuracy (mean and standard deviation over the seeds, in %).",
        table(header, rows),
    ]


def _measured(
    case: Case, options: Options, rounds: int, executors: LocalExecutors, classic: ProcessPoolExecutor
) -> Sequence[object]:
    data = options.images.sized(case.train, case.val)
    folder = options.scratch / "trial"
    # each side has its data and its warm code before anything counts
    train_together(executors, [recipe(_shorter(case), 0)] * cores(), data, folder)
    tries = {workers: classic.submit(_classic, recipe(_shorter(case), 0), data, workers).result() for workers in (0, 2)}
    workers = min(tries, key=lambda count: tries[count].seconds)

    def ours(number: int) -> tuple[float, list[float]]:
        configs = [recipe(case, number * cores() + slot) for slot in range(cores())]
        seconds, trained = train_together(executors, configs, data, folder)
        return seconds / cores(), [each.val_accuracy for each in trained]

    def theirs(number: int) -> tuple[float, list[float]]:
        result = classic.submit(_classic, recipe(case, number), data, workers).result()
        return result.seconds, [result.val_accuracy]

    found = interleaved({"ours": ours, "theirs": theirs}, rounds)
    our_seconds = [seconds for seconds, _ in found["ours"]]
    their_seconds = [seconds for seconds, _ in found["theirs"]]
    return (
        case.label,
        f"{data.train_size:,} x {case.epochs}",
        f"{digits(sorted(their_seconds)[rounds // 2])} ({workers} workers)",
        digits(sorted(our_seconds)[rounds // 2]),
        f"**{ratios(our_seconds, their_seconds)}**",
        _accuracy([value for _, values in found["theirs"] for value in values]),
        _accuracy([value for _, values in found["ours"] for value in values]),
    )


def _shorter(case: Case) -> Case:
    return Case(case.model, case.width, case.lr, case.train, case.val, 1)


def _accuracy(values: Sequence[float]) -> str:
    return f"{mean(values) * 100:.1f} ± {stdev(values) * 100:.1f} ({len(values)} seeds)"


@lru_cache(maxsize=1)
def _classic_data(spec: DataSpec) -> ClassicData:
    return ClassicData(spec)


def _classic(config: Configuration, data: DataSpec, workers: int) -> ClassicResult:
    torch.set_num_threads(cores())
    return train_classic(config, _classic_data(data), workers)


if __name__ == "__main__":
    run({"trial": measure})
