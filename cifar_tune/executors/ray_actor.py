"""The Ray actor that trains trials. Between two steps it waits for the coordinator's verdict, and costs nothing."""

import importlib
import os
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray

import cifar_tune
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.messages import Began, Broken, Ended, EpochDone, Job, Ready, Refused, Report, Verdict

BESIDE = {"beside": 2}
"""Ray's concurrency group for `watch` and `leave`, which work while the main thread of the actor trains."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an actor needs to have in common with the coordinator, wherever Ray places it.

    Attributes:
        version: of cifar-tune.
        folder: the folder in which the coordinator was started: relative paths mean the same everywhere.
        variables: environment variables, for machines that set none of their own.
        data: the images of the study.
        fingerprint: theirs, as the coordinator found them.
        device: `cpu` or `cuda`.
    """

    version: str
    folder: Path
    variables: Mapping[str, str]
    data: DataSpec
    fingerprint: str
    device: str


class RayExecutor:
    """Trains one job at a time. Every step returns what the local engine's process would have sent until it waits."""

    def __init__(self) -> None:
        self._node = f"{platform.node()} ({ray.util.get_node_ip_address()})"
        self._goes_on = True
        self._reports: Iterator[Report] = iter(())

    def start(self, surroundings: Surroundings) -> list[Report]:
        """Import torch and prepare the images: `Ready`, or `Refused` where this machine could not train the same."""
        try:
            return [self._start(surroundings)]
        except UserError as error:
            return [Refused(f"{self._node}: {error}")]

    def begin(self, job: Job) -> list[Report]:
        """Begin a trial; returns as soon as it waits for a verdict, or has ended."""
        with suppress(OSError):  # a notice will say so, when the first checkpoint cannot be written
            job.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        self._reports = self._trainer.run(job)
        return self._next_reports()

    def go_on(self, verdict: Verdict) -> list[Report]:
        """Train one more epoch, or end here."""
        self._goes_on = verdict.go_on
        return self._next_reports()

    def watch(self) -> None:
        """Never return: the caller's future fails when this process ends, also while it has nothing to do."""
        threading.Event().wait()

    def leave(self) -> None:
        """End this process in the middle of whatever it does, but not of writing a checkpoint."""
        self._trainer.finish_checkpoint()
        os._exit(0)

    def _start(self, surroundings: Surroundings) -> Ready:
        if cifar_tune.__version__ != surroundings.version:
            raise UserError(
                f"has cifar-tune {cifar_tune.__version__}, and the coordinator {surroundings.version}: install the same"
            )
        try:
            surroundings.folder.mkdir(parents=True, exist_ok=True)
            os.chdir(surroundings.folder)
        except OSError as error:
            raise UserError(f"{surroundings.folder} cannot be used as its folder ({error.strerror})") from error
        for name, value in surroundings.variables.items():
            os.environ.setdefault(name, value)

        # torch belongs to the actor alone: the coordinator imports this module too
        importlib.import_module("cifar_tune.executors.preloaded")
        from cifar_tune.executors.job_training import JobTrainer  # noqa: PLC0415
        from cifar_tune.training.device import environment, resolve_device  # noqa: PLC0415

        device = resolve_device(surroundings.device)
        place = f"{device} on {self._node}"
        self._trainer = JobTrainer(device, place, lambda: self._goes_on)
        if self._trainer.load_data(surroundings.data).fingerprint != surroundings.fingerprint:
            raise UserError(
                f"has other images than the coordinator in {surroundings.data.root or surroundings.data.name}, so its "
                f"trials could not be compared with the others; copy the images there, or take the machine out"
            )
        return Ready(place, environment(device))

    def _next_reports(self) -> list[Report]:
        reports: list[Report] = []
        for report in self._reports:
            reports.append(report)
            if isinstance(report, Began | EpochDone | Broken | Ended):
                break
        return reports
