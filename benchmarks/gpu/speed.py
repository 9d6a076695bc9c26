"""Images per second of whole epochs, of the bare step (eager, as a CUDA graph, compiled), and of the classic loop.

`ours` is the program as it comes: captured steps, repeatable algorithms. All others, and `ours, fastest`, let cuDNN
take the algorithms that it finds fastest.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from statistics import median

import torch
from torch.nn import functional

from benchmarks.classic_loop import ClassicData, classic_steps
from benchmarks.gpu.setting import Cell, Clock, Setting
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.models.build import build_model
from cifar_tune.training.device import autocast, configure, forward_pass, resolve_precision
from cifar_tune.training.failures import release
from cifar_tune.training.loop import Training

_WARM_STEPS = 5


@dataclass(frozen=True, slots=True)
class Case:
    """A network and a batch size; `compiled` and `classic` say what else it is compared with."""

    model: str
    width: int | None
    batch: int
    compiled: bool = False
    classic: bool = False

    @property
    def config(self) -> Configuration:
        """The same recipe for all."""
        width = {} if self.width is None else {"width": self.width}
        return complete(
            {
                "model": self.model, **width, "batch_size": self.batch, "optimizer": "sgd", "momentum": 0.9, "lr": 0.01,
                "weight_decay": 5e-4, "schedule": "one_cycle", "augment": ("random_crop", "horizontal_flip"),
                "epochs": 3,
            }
        )  # fmt: skip


_NETS: tuple[tuple[str, int | None], ...] = (
    ("resnet18", 64),
    ("airbench_net", 64),
    ("resnet18", 16),
    ("cnn3", 64),
    ("tutorial_net", 6),
    ("vgg19_bn", None),
    ("densenet121", None),
)
_MAIN = ("resnet18", 64)
CASES = tuple(
    Case(model, width, batch, compiled=(model, width) == _MAIN, classic=(model, width) == _MAIN)
    for model, width in _NETS
    for batch in (128, 512)
)
SMALL_CASES = (
    Case("tutorial_net", 6, 32, classic=True),
    Case("resnet18", 4, 32),
    Case("a model that does not exist", 6, 32),
)


def measure(setting: Setting) -> None:
    """One row for each case; a case that fails says why, and the others go on."""
    device = setting.torch_device
    train, val = (256, 64) if setting.small else (45_000, 5_000)
    data = ResidentData(prepare(setting.data(train, val)), device)
    classic = ClassicData(setting.data(train, val))
    clock = Clock(setting.seconds)
    cases = SMALL_CASES if setting.small else CASES
    for index, case in enumerate(cases):
        seconds = 0.05 if setting.small else max(0.2, min(2.0, clock.left / (len(cases) - index) / 8))
        row: dict[str, Cell] = {"network": f"{case.model}, width {case.width}", "batch": case.batch}
        if clock.left <= 0:
            setting.write({**row, "problem": "no time left"})
            continue
        problems: list[str] = []
        for name, speed in _variants(case, data, classic, device, seconds).items():
            try:
                row[name] = round(speed())
            except Exception as error:  # noqa: BLE001 (whatever it is, the rest is still worth knowing)
                problems.append(f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            release(device)
        setting.write(row | _ratios(row) | ({"problem": "; ".join(problems)} if problems else {}))


def _variants(
    case: Case, data: ResidentData, classic: ClassicData, device: torch.device, seconds: float
) -> dict[str, Callable[[], float]]:
    variants: dict[str, Callable[[], float]] = {
        "ours": lambda: _ours(case.config, data, device, seconds),
        "eager": lambda: _bare(case, device, seconds),
    }
    if device.type == "cuda":
        fastest = case.config.replaced(repeatable=False)
        variants["ours, fastest"] = lambda: _ours(fastest, data, device, seconds)
        variants["ours, no graph"] = lambda: _ours(fastest.replaced(cuda_graphs=False), data, device, seconds)
        variants["graph"] = lambda: _bare(case, device, seconds, graphed=True)
        if case.compiled:
            variants["compiled"] = lambda: _bare(case, device, seconds, compiled=True)
    if case.classic:
        workers = 0 if device.type == "cpu" else max(1, (os.cpu_count() or 1) - 1)
        variants["classic fp32"] = lambda: _classic(case.config, classic, device, workers, seconds, amp=False)
        variants["classic AMP"] = lambda: _classic(case.config, classic, device, workers, seconds, amp=True)
    return variants


def _ratios(row: dict[str, Cell]) -> dict[str, Cell]:
    def ratio(mine: str, other: str) -> Cell:
        ours, theirs = row.get(mine), row.get(other)
        return round(ours / theirs, 2) if isinstance(ours, int) and isinstance(theirs, int) and theirs else None

    pairs = [("ours", other) for other in ("graph", "eager", "classic AMP")] + [("ours, fastest", "graph")]
    return {f"{mine}/{other}": ratio(mine, other) for mine, other in pairs if mine in row and other in row}


def _ours(config: Configuration, data: ResidentData, device: torch.device, seconds: float) -> float:
    """Training images per second of whole epochs, validation included; the first one warms up."""
    most = 100
    training = Training(complete({**config, "epochs": most}), data, device)
    images = data.train_size // config.integer("batch_size") * config.integer("batch_size")
    epochs = training.epochs()
    next(epochs)
    found: list[float] = []
    while not found or (sum(found) < seconds and len(found) < most - 1):
        found.append(next(epochs).seconds)
    return images / median(found)


def _bare(case: Case, device: torch.device, seconds: float, graphed: bool = False, compiled: bool = False) -> float:
    """Images per second of forward, backward and optimizer step on one batch that lies ready."""
    config = case.config.replaced(repeatable=False)
    configure(config, device)
    model = build_model(config, (3, 32, 32), 10).to(device).to(memory_format=torch.channels_last)
    forward = forward_pass(model, compiled)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, fused=True)
    precision = resolve_precision(config, device)
    images = torch.randn(case.batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (case.batch,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(precision, device):
            logits = forward(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    call = _captured(step) if graphed else step
    return case.batch / _seconds_per_call(call, device, seconds)


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph, captured as PyTorch's notes on CUDA semantics say: warm, and on another stream."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _seconds_per_call(call: Callable[[], None], device: torch.device, seconds: float) -> float:
    for _ in range(_WARM_STEPS):
        call()
    _wait(device)
    calls, started = 0, time.perf_counter()
    while not calls or time.perf_counter() - started < seconds:
        for _ in range(20 if device.type == "cuda" else 1):
            call()
            calls += 1
        _wait(device)
    return (time.perf_counter() - started) / calls


def _classic(
    config: Configuration, data: ClassicData, device: torch.device, workers: int, seconds: float, amp: bool
) -> float:
    """Training images per second; the first few batches, for which the workers start, are left out."""
    steps = classic_steps(config, data, workers, device, amp)
    for _ in islice(steps, _WARM_STEPS):
        pass
    _wait(device)
    images, started = 0, time.perf_counter()
    for count in steps:
        images += count
        if time.perf_counter() - started >= seconds:
            break
    _wait(device)
    return images / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
