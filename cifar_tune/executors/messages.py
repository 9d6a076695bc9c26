"""What a coordinator and its executors say to each other. Plain data, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cifar_tune.data.folds import STUDY_PART, Part
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.plugin import PluginFile
from cifar_tune.training.results import EpochResult


@dataclass(frozen=True, slots=True)
class Job:
    """One trial to train, or to go on with where its checkpoint ends, with the plugins as the coordinator read them.

    After each epoch the further metrics in `measures` are computed too. `part` says which images are trained and
    validated on. With `told`, it trains as many epochs as these validation losses are, and the schedule is told these.
    """

    number: int
    config: Mapping[str, Value]
    data: DataSpec
    checkpoint: Path
    plugins: tuple[PluginFile, ...] = ()
    measures: tuple[str, ...] = ()
    part: Part = STUDY_PART
    told: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The coordinator's answer to `Began` and to every `EpochDone`."""

    go_on: bool


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Prepare to train `typical`, and take a step of each of the `largest`; answer `Prepared`.

    On a `Verdict` to go on, train for this many `seconds`, and answer `Rehearsed`. Nothing is kept but figures. No more
    than `most` executors are of use. The study trains at most this many `epochs` (None: unknown) and `study_seconds`.
    """

    typical: Mapping[str, Value]
    largest: tuple[Mapping[str, Value], ...]
    data: DataSpec
    plugins: tuple[PluginFile, ...] = ()
    most: int = 1_000_000
    seconds: float = 2.0
    epochs: int | None = None
    study_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Make the device ready for trials like this one until there is something else to do; there is no answer.

    Without a `config`, only the images are loaded.
    """

    config: Mapping[str, Value] | None
    data: DataSpec


@dataclass(frozen=True, slots=True)
class Quit:
    """Finish writing the checkpoint, then end the process."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An executor has started and waits for jobs; its machine has this many devices like its own.

    `room_bytes` of a GPU's memory are free or its own; 0 for other devices.
    """

    device: str
    environment: Mapping[str, str | int]
    devices: int = 1
    room_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """An executor is ready for the second part of its rehearsal; or it met a `problem`, and it is over.

    `peak_bytes` is what torch held for the largest configuration, `room_bytes` what was free besides, or held by this
    process's torch, `total_bytes` the device's memory. An epoch costs as much as training on this many `images`.
    """

    peak_bytes: int = 0
    room_bytes: int = 0
    total_bytes: int = 0
    images: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of a rehearsal, or the `problem` that it met."""

    images_per_second: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """An executor cannot start, for a reason that the user can mend."""

    message: str


@dataclass(frozen=True, slots=True)
class Began:
    """A job has begun; `results` are those of the epochs that its checkpoint holds.

    `flops` are the multiply-adds of the model's forward pass for one image.
    """

    number: int
    device: str
    parameters: int
    flops: int
    precision: str
    results: tuple[EpochResult, ...]


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One more epoch is finished and its checkpoint is on its way to the disk.

    Its steps are split into this many `micro_batches`, if memory ran out before.
    """

    number: int
    result: EpochResult
    micro_batches: int = 1


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about a job that people should know, though it goes on."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The process cannot use its device any more, whatever it trains: the job has to go on in another process."""

    number: int
    cause: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A job is over: `stopped` by the coordinator's verdict, `refused` for wrong input; `detail` is for people."""

    number: int
    outcome: Literal["completed", "stopped", "diverged", "out_of_memory", "refused", "error"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Died:
    """An executor's process is gone; said by the pool, not by the executor. `cause` is for people.

    `out_of_memory` says that the system ended it because memory ran out, where that can be known.
    """

    number: int | None
    cause: str
    slot: int = 0
    out_of_memory: bool = False


Order = Job | Verdict | Rehearsal | WarmUp | Quit
Report = Ready | Prepared | Rehearsed | Refused | Began | EpochDone | Notice | Broken | Ended
