"""What is sent and answered about submissions and slots."""

from typing import Annotated, Literal

from pydantic import Field

from cifar_tune.service.submissions import State, Wanted
from cifar_tune.web.models import Model

_TEXT_LIMIT = 100_000
_EXAMPLE_TEXT = "name: digits\ndata: {name: digits}\ntrain: {model: cnn2}\nbudget: {trials: 20}\n"

Priority = Annotated[int, Field(ge=-1000, le=1000)]
Workers = Annotated[int, Field(ge=1, le=10_000)]


class NewStudy(Model):
    """A study to be run."""

    text: str = Field(max_length=_TEXT_LIMIT, examples=[_EXAMPLE_TEXT])
    """The study file's text."""
    file: str = Field("study.yaml", min_length=1, max_length=200, examples=["digits.yaml"])
    """The name of the file, for messages."""
    overrides: list[Annotated[str, Field(max_length=2000)]] = Field(
        default_factory=list, max_length=200, examples=[["epochs=5"]]
    )
    """Settings as `--set` takes them, applied before anything is checked."""
    priority: Priority = Field(0, examples=[0])
    """The higher, the sooner."""
    workers: Workers | None = Field(None, examples=[2])
    """Slots that it may use at most; null for as many as there are."""
    notify: list[Annotated[str, Field(max_length=2000)]] = Field(default_factory=list, max_length=20, examples=[[]])
    """Addresses that are told how it goes."""


class Change(Model):
    """What is to be different; what is left out stays as it is."""

    priority: Priority | None = Field(None, examples=[10])
    """The higher, the sooner."""
    workers: Workers | None = Field(None, examples=[4])
    """Slots that it may use at most; null for as many as there are."""
    wanted: Literal["run", "pause"] | None = Field(None, examples=["pause"])
    """Whether it is to run, or to wait until somebody resumes it."""


class SubmissionTold(Model):
    """A study that somebody has submitted. Times are seconds since the epoch."""

    id: int = Field(examples=[17])
    """Its number, which no other submission ever gets."""
    study: str = Field(examples=["digits"])
    """The study's name."""
    owner: str = Field(examples=["ada"])
    """Who submitted it."""
    file: str = Field(examples=["digits.yaml"])
    """The name of the study file."""
    text: str | None = Field(None, examples=[_EXAMPLE_TEXT])
    """The text of the study file, with the settings applied; null in lists."""
    priority: int = Field(examples=[0])
    """The higher, the sooner."""
    workers: int | None = Field(examples=[2])
    """Slots that it may use at most; null for as many as there are."""
    trials: int = Field(examples=[20])
    """Its budget."""
    state: State = Field(examples=["queued"])
    """What it does."""
    wanted: Wanted = Field(examples=["run"])
    """What people want it to do."""
    submitted_at: float = Field(examples=[1767225600.0])
    """When it came."""
    waiting_since: float = Field(examples=[1767225600.0])
    """When it was queued last: submitted, resumed or parked for others."""
    started_at: float | None = Field(examples=[None])
    """When it began for the first time."""
    ended_at: float | None = Field(examples=[None])
    """When it ended for good."""
    exit_code: int | None = Field(examples=[None])
    """That of its last run, once it has ended."""
    message: str | None = Field(examples=[None])
    """How it ended, or what went wrong last."""
    device_seconds: float = Field(examples=[0.0])
    """For how long it has used slots, all together."""
    deaths: int = Field(examples=[0])
    """Processes of it that died in a row without a finished epoch in between."""
    notify: list[str] = Field(examples=[[]])
    """Addresses that are told; hidden from those who may not change it."""
    waits: str | None = Field(examples=["all 8 slots are taken by studies of higher priority"])
    """Why it waits."""
    position: int | None = Field(examples=[3])
    """In the queue, from 1; null where it has none."""
    notes: list[str] = Field(default_factory=list, examples=[[]])
    """On what the study file says that is allowed but surely not meant; known when it is submitted, and not later."""


class Queue(Model):
    """What runs, then what waits in its order, then what is paused."""

    submissions: list[SubmissionTold]


class Slot(Model):
    """A part of a device on which one trial runs at a time."""

    number: int = Field(examples=[0])
    device: str = Field(examples=["cuda:0"])
    study: str | None = Field(examples=["digits"])
    """Whose trial it runs; null if it is free."""


class Slots(Model):
    """What the machine has, and who uses it."""

    slots: list[Slot]
    as_of: float | None = Field(examples=[1767225600.0])
    """When the server last said so, in seconds since the epoch; null if it has not."""


class StoppedTold(Model):
    """Who was asked to stop."""

    study: str = Field(examples=["digits"])
    asked: tuple[str, ...] = Field(examples=[["process 4711 on lab1"]])
    """The processes that park the study, within an epoch."""
    is_paused: bool = Field(examples=[True])
    """Whether the study was submitted, and waits until somebody resumes it."""


class Deleted(Model):
    """What was removed."""

    study: str = Field(examples=["digits"])
    linked: list[str] = Field(examples=[["digits/finals"]])
    """Studies that `finalize` had made for it."""
    left: list[str] = Field(examples=[[]])
    """Files of theirs that could not be deleted."""
