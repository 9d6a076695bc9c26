"""What is sent and answered about submissions and slots."""

from typing import Annotated, Literal

from pydantic import Field

from cifar_tune.service.bounds import MOST_PRIORITY, MOST_WORKERS
from cifar_tune.service.running import busy
from cifar_tune.service.submissions import State, Submission, Wanted
from cifar_tune.study_spec.notify import LONGEST as LONGEST_ADDRESS
from cifar_tune.study_spec.notify import MOST as MOST_ADDRESSES
from cifar_tune.web.models import Model

_TEXT_LIMIT = 100_000
_EXAMPLE_TEXT = "name: digits\ndata: {name: digits}\ntrain: {model: cnn2}\nbudget: {trials: 20}\n"

# the desk refuses what lies outside, so that the words are the same as on the database
Priority = Annotated[int, Field(json_schema_extra={"minimum": -MOST_PRIORITY, "maximum": MOST_PRIORITY})]
Workers = Annotated[int, Field(json_schema_extra={"minimum": 1, "maximum": MOST_WORKERS})]
Address = Annotated[str, Field(json_schema_extra={"maxLength": LONGEST_ADDRESS})]
Addresses = Annotated[list[Address], Field(json_schema_extra={"maxItems": MOST_ADDRESSES})]


class NewStudy(Model):
    """A study to queue."""

    text: str = Field(max_length=_TEXT_LIMIT, examples=[_EXAMPLE_TEXT])
    """The text of the study file."""
    file: str = Field("study.yaml", min_length=1, max_length=200, examples=["digits.yaml"])
    """The name of the file, for messages."""
    overrides: list[Annotated[str, Field(max_length=2000)]] = Field(
        default_factory=list, max_length=200, examples=[["epochs=5"]]
    )
    """Settings as for `--set`, applied before the study is checked."""
    priority: Priority = Field(0, examples=[0])
    """A study with a higher priority runs sooner."""
    workers: Workers | None = Field(None, examples=[2])
    """The largest number of slots that it may use; null: as many as there are."""
    notify: Addresses = Field(default_factory=list, examples=[[]])
    """Addresses to send news to."""


class Change(Model):
    """What to change. What you leave out stays as it is."""

    priority: Priority | None = Field(None, examples=[10])
    """A study with a higher priority runs sooner."""
    workers: Workers | None = Field(None, examples=[4])
    """The largest number of slots that it may use; null: as many as there are."""
    wanted: Literal["run", "pause"] | None = Field(None, examples=["pause"])
    """`run`: it may run. `pause`: it waits until somebody resumes it."""


class SoFarTold(Model):
    """How far a study is that has begun."""

    finished: int = Field(examples=[12])
    """The number of trials that count against the budget."""
    running: int = Field(examples=[2])
    """The number of trials that are trained now."""
    metric: str | None = Field(examples=["val_accuracy"])
    """The objective, the first one of several; null if the study cannot be read."""
    best: float | None = Field(examples=[0.9433])
    """The best value so far; null if there is none."""
    trial: int | None = Field(examples=[7])
    """The number of the trial that has it."""


class SubmissionTold(Model):
    """A study that somebody has submitted. Times are seconds since the epoch."""

    id: int = Field(examples=[17])
    """Its number. No other submission ever gets the same one."""
    study: str = Field(examples=["digits"])
    """The study's name."""
    owner: str = Field(examples=["ada"])
    """Who submitted it."""
    file: str = Field(examples=["digits.yaml"])
    """The name of the study file."""
    text: str | None = Field(None, examples=[_EXAMPLE_TEXT])
    """The text of the study file, with the settings applied; null in lists."""
    priority: int = Field(examples=[0])
    """A study with a higher priority runs sooner."""
    workers: int | None = Field(examples=[2])
    """The largest number of slots that it may use; null: as many as there are."""
    trials: int = Field(examples=[20])
    """Its budget of trials."""
    state: State = Field(examples=["queued"])
    """Its state."""
    wanted: Wanted = Field(examples=["run"])
    """What people want it to do."""
    submitted_at: float = Field(examples=[1767225600.0])
    """When it was submitted."""
    waiting_since: float = Field(examples=[1767225600.0])
    """When it was last queued: submitted, resumed, or parked for other studies."""
    started_at: float | None = Field(examples=[None])
    """When it first began; null if it has not."""
    ended_at: float | None = Field(examples=[None])
    """When it ended; null if it has not."""
    exit_code: int | None = Field(examples=[None])
    """The exit code of its last run; null before it has ended."""
    message: str | None = Field(examples=[None])
    """How it ended, or what went wrong last."""
    device_seconds: float = Field(examples=[0.0])
    """The time for which it has used slots, all slots added up."""
    deaths: int = Field(examples=[0])
    """The number of its processes that died in a row without a finished epoch in between."""
    notify: list[str] = Field(examples=[[]])
    """Addresses that are told; hidden from those who may not change it."""
    waits: str | None = Field(examples=["all 8 slots are taken by studies of higher priority"])
    """Why it waits; null if it does not."""
    position: int | None = Field(examples=[3])
    """Its position in the queue, from 1; null if it has none."""
    notes: list[str] = Field(default_factory=list, examples=[[]])
    """Remarks on settings that are allowed but probably not meant; only in the answer to a new submission."""
    so_far: SoFarTold | None = None
    """How far the study is. Told in the queue and of a single submission; null before its first run."""


def told(submission: Submission, with_text: bool = True) -> SubmissionTold:
    """A submission as it is answered."""
    found = SubmissionTold.model_validate(submission)
    return found if with_text else found.model_copy(update={"text": None})


class Queue(Model):
    """All submissions that have not ended: running ones, then waiting ones in their order, then paused ones."""

    submissions: list[SubmissionTold]
    """The submissions."""


class Slot(Model):
    """A part of a device that runs one trial at a time."""

    number: int = Field(examples=[0])
    """Its number."""
    device: str = Field(examples=["cuda:0"])
    """The device."""
    study: str | None = Field(examples=["digits"])
    """The study whose trial it runs; null if it is free."""


class Slots(Model):
    """The slots of the machine, and who uses them."""

    slots: list[Slot]
    """The slots."""
    as_of: float | None = Field(examples=[1767225600.0])
    """When the server last reported this, in seconds since the epoch; null if it never has."""

    @property
    def busy(self) -> int:
        """How many of them are busy, as pages and metrics show it."""
        return busy(each.study for each in self.slots)


class StoppedTold(Model):
    """What came of asking a study to stop."""

    study: str = Field(examples=["digits"])
    """The study's name."""
    asked: tuple[str, ...] = Field(examples=[["process 4711 on lab1"]])
    """The processes that will park the study after their epoch."""
    is_paused: bool = Field(examples=[True])
    """Whether the study was submitted, and waits until somebody resumes it."""


class Deleted(Model):
    """What was removed."""

    study: str = Field(examples=["digits"])
    """The study's name."""
    linked: list[str] = Field(examples=[["digits/finals"]])
    """Studies that `finalize` had made for it."""
    left: list[str] = Field(examples=[[]])
    """Files that could not be deleted."""
