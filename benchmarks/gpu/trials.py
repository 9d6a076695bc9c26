"""Trials in one process: how long the first epochs take, whether memory comes back, whether two processes agree."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch

from benchmarks.gpu.setting import Clock, Setting
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Began, Died, Ended, EpochDone, Job, Verdict, WarmUp
from cifar_tune.executors.starting import work_in_process
from cifar_tune.executors.warming import WARMED
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value
from cifar_tune.training.failures import release
from cifar_tune.training.loop import Training

_SHAPES: tuple[tuple[int, int], ...] = ((64, 128), (32, 512), (64, 512), (16, 128), (64, 128), (32, 512))
"""Width and batch size; the last two come again."""


def _config(width: int, batch: int, epochs: int, **others: Value) -> Configuration:
    return complete(
        {
            "model": "resnet18", "width": width, "batch_size": batch, "epochs": epochs, "optimizer": "sgd", "lr": 0.05,
            "momentum": 0.9, "schedule": "one_cycle", "augment": ("random_crop", "horizontal_flip"), **others,
        }
    )  # fmt: skip


def first_epochs(setting: Setting) -> None:
    """Trial after trial in a new executor: the first epoch over the second one, where it has made its GPU ready or not.

    The executor waits for its first trial for some seconds, as it does where images are decoded or others start.
    """
    data = setting.data(128 if setting.small else 20_000, 64)
    prepare(data)
    shapes = _small(setting) or _SHAPES
    clock = Clock(setting.seconds)
    for words, warm_up in (("as it comes", None), ("made ready", WarmUp(dict(_config(*shapes[0], 2)), data))):
        work = _warms_everywhere if setting.small else work_in_process
        executors = LocalExecutors(1, (setting.device,), 1, _say_nothing, work, warm_up)
        try:
            executors.wait_for_start(data, "", lambda: None)
            time.sleep(0.5 if setting.small else _WAITING_SECONDS)
            for number, (width, batch) in enumerate(shapes):
                if clock.left <= 0:
                    break
                job = Job(number, dict(_config(width, batch, 2)), data, Path(setting.folder, f"{words} {number}.pt"))
                began, first, second = _trained(executors, job)
                setting.write(
                    {
                        "executor": words, "trial": number + 1, "width": width, "batch": batch,
                        "until it began, s": round(began, 3), "first epoch, s": round(first, 3),
                        "second epoch, s": round(second, 3), "ratio": round(first / second, 2),
                    }
                )  # fmt: skip
        finally:
            executors.close(lambda: True)


_WAITING_SECONDS = 5.0


def _say_nothing(_note: str) -> None:
    return


def _warms_everywhere(connection: Connection, device: str, slot: int) -> None:
    """An executor that makes a CPU ready too."""
    WARMED.append("cpu")
    work_in_process(connection, device, slot)


def _trained(executors: LocalExecutors, job: Job) -> tuple[float, ...]:
    """Seconds until the trial began, and of its epochs."""
    started = time.perf_counter()
    executors.submit(job)
    seconds: list[float] = []
    while True:
        for report in executors.reports(0.1):
            match report:
                case Began():
                    seconds.append(time.perf_counter() - started)
                    executors.answer(job.number, Verdict(go_on=True))
                case EpochDone():
                    seconds.append(report.result.seconds)
                    executors.answer(job.number, Verdict(go_on=True))
                case Ended(outcome="completed"):
                    executors.finished(job.number)
                    return tuple(seconds)
                case Ended() | Died():
                    raise RuntimeError(f"the trial ended: {report}")


_AIRBENCH: Mapping[str, Value] = {
    "model": "airbench_net", "width": 64, "batch_size": 1024, "epochs": 10, "optimizer": "sgd", "nesterov": True,
    "lr": 0.5, "momentum": 0.85, "weight_decay": 5e-4, "schedule": "triangular", "label_smoothing": 0.2,
    "augment": ("random_crop", "alternating_flip"), "crop_padding": 2, "crop_padding_mode": "reflect",
    "norm_bias_lr_factor": 64.0, "bn_momentum": 0.4, "lookahead": "cubic",
}  # fmt: skip


def airbench(setting: Setting) -> None:
    """Trial after trial of airbench_net in one process, ten epochs each: how long an epoch and all of it takes."""
    data = _data(setting, 45_000)
    small: Mapping[str, Value] = {"width": 4, "batch_size": 32, "epochs": 2} if setting.small else {}
    clock = Clock(setting.seconds)
    for trial, (words, chosen) in enumerate(
        (
            ("as it comes", {}),
            ("as it comes", {}),
            ("fastest algorithms", {"repeatable": False}),
            ("fastest algorithms", {"repeatable": False}),
            ("compiled", {"repeatable": False, "compile": True}),
            ("compiled", {"repeatable": False, "compile": True}),
        )
    ):
        if clock.left <= 0 or (setting.small and trial > 1):
            break
        started = time.perf_counter()
        results = list(Training(complete({**_AIRBENCH, **small, **chosen}), data, data.device).epochs())
        setting.write(
            {
                "trial": trial, "steps": words, "all, s": round(time.perf_counter() - started, 2),
                "first epoch, s": round(results[0].seconds, 3),
                "median epoch, s": round(median(result.seconds for result in results), 3),
                "val accuracy": round(results[-1].val_accuracy, 4),
            }
        )  # fmt: skip
        release(data.device)


def memory(setting: Setting) -> None:
    """Trials of changing width and batch size in one process: what is left when each has ended."""
    data = _data(setting, 4_096)
    clock = Clock(setting.seconds)
    wanted = 4 if setting.small else 200
    for number, (width, batch) in zip(range(1, wanted + 1), cycle(_small(setting) or _SHAPES), strict=False):
        for _ in Training(_config(width, batch, 1), data, data.device).epochs():
            pass
        release(data.device)
        is_last = number == wanted or clock.left <= 0
        if number in {1, 10, 50, 100} or is_last:
            setting.write({"trials": number, "MB held": round(_held(data.device) / 1e6, 1), "of": _whose(data.device)})
        if is_last:
            break


def _held(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _whose(device: torch.device) -> str:
    return "torch on the GPU" if device.type == "cuda" else "the process, in memory"


def same_digits(setting: Setting) -> None:
    """The same configuration in two processes, one after the other."""
    found = []
    for process in (1, 2):
        command = [sys.executable, "-m", "benchmarks.gpu.trials", setting.as_json()]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=setting.seconds)
        if ended.returncode:
            raise RuntimeError(ended.stderr.strip().splitlines()[-1])
        found.append(json.loads(ended.stdout.splitlines()[-1]))
        setting.write({"process": process, "values": str(found[-1]), "same": found[0] == found[-1]})


def _digits_of(setting: Setting) -> list[float]:
    data = _data(setting, 10_000)
    [(width, batch), *_] = _small(setting) or _SHAPES
    results = Training(_config(width, batch, 2), data, data.device).epochs()
    return [figure for result in results for figure in (result.train_loss, result.val_loss, result.val_accuracy)]


def _small(setting: Setting) -> tuple[tuple[int, int], ...]:
    return ((4, 16), (8, 32)) if setting.small else ()


def _data(setting: Setting, train: int) -> ResidentData:
    return ResidentData(prepare(setting.data(128 if setting.small else train, 64)), setting.torch_device)


if __name__ == "__main__":
    print(json.dumps(_digits_of(Setting(**json.loads(sys.argv[1])))))
