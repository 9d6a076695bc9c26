"""What is sent and answered under `/v1`. Later versions add keys; none changes its meaning or goes away."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cifar_tune.service.people import Role
from cifar_tune.service.submissions import State, Wanted

_TEXT_LIMIT = 100_000
_EXAMPLE_TEXT = "name: digits\ndata: {name: digits}\ntrain: {model: cnn2}\nbudget: {trials: 20}\n"

Priority = Annotated[int, Field(ge=-1000, le=1000)]
Workers = Annotated[int, Field(ge=1, le=10_000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True, use_attribute_docstrings=True)


class NewStudy(_Model):
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


class Change(_Model):
    """What is to be different; what is left out stays as it is."""

    priority: Priority | None = Field(None, examples=[10])
    """The higher, the sooner."""
    workers: Workers | None = Field(None, examples=[4])
    """Slots that it may use at most; null for as many as there are."""
    wanted: Literal["run", "pause"] | None = Field(None, examples=["pause"])
    """Whether it is to run, or to wait until somebody resumes it."""


class SubmissionTold(_Model):
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


class Best(_Model):
    """The best trial so far."""

    number: int = Field(examples=[12])
    value: float | None = Field(examples=[0.9433])


class StudySummary(_Model):
    """A study in a list."""

    name: str = Field(examples=["digits"])
    """The study's name."""
    owner: str | None = Field(examples=["ada"])
    """Whose it is; null if `cifar-tune run` made it."""
    state: State | None = Field(examples=["running"])
    """What its newest submission does; null if there is none."""
    submission: int | None = Field(examples=[17])
    """The number of that submission."""
    counts: dict[str, int] = Field(examples=[{"COMPLETE": 12, "RUNNING": 2}])
    """How many trials are in each state."""
    finished: int = Field(examples=[12])
    """Trials that count against the budget."""
    budget_trials: int | None = Field(examples=[20])
    """The budget; of a grid at most its combinations."""
    objective: str | None = Field(examples=["val_accuracy"])
    """What is optimized; the first of several."""
    direction: str | None = Field(examples=["maximize"])
    """Whether more or less of it is better."""
    best: Best | None = None
    """The best trial so far."""
    trouble: str | None = Field(examples=[None])
    """Why nothing more is known of it."""


class StudyList(_Model):
    """A page of studies."""

    studies: list[StudySummary]
    total: int = Field(examples=[1])
    """How many there are on all pages."""
    offset: int = Field(examples=[0])
    """Where this page begins."""


class Study(_Model):
    """One study: what was submitted, and how it stands."""

    name: str = Field(examples=["digits"])
    owner: str | None = Field(examples=["ada"])
    """Whose it is; null if `cifar-tune run` made it."""
    submission: SubmissionTold | None = None
    """Its newest submission."""
    status: dict[str, Any] | None = Field(
        None, examples=[{"name": "digits", "finished": 12, "counts": {"COMPLETE": 12}}]
    )
    """As `cifar-tune status --json` has it; null before the first run began."""
    rights: list[str] = Field(examples=[["pause", "cancel"]])
    """What whoever asks may do with it."""


class Trial(_Model):
    """A trial with the values after each of its epochs."""

    model_config = ConfigDict(extra="allow")

    number: int = Field(examples=[12])
    state: Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"] = Field(examples=["COMPLETE"])
    reason: str | None = Field(examples=["completed"])
    """Why it ended."""
    error: str | None = Field(examples=[None])
    """What went wrong."""
    value: float | None = Field(examples=[0.9433])
    """The objective; of a pruned trial after its last epoch."""
    values: list[float] = Field(examples=[[0.9433]])
    """All objectives, in the order of the study file."""
    feasible: bool | None = Field(examples=[True])
    """Whether it keeps all constraints; null while that is open."""
    source: str = Field(examples=["sampler"])
    """sampler, start_from, transfer_from or enqueued."""
    params: dict[str, Any] = Field(examples=[{"lr": 0.01}])
    """The searched knobs with the values that training uses."""
    intermediate: list[tuple[int, float | None]] = Field(examples=[[[1, 0.81], [2, 0.9433]]])
    """The objective after each epoch: epoch and value."""
    epochs: int = Field(examples=[2])
    """Finished epochs."""
    budget_epochs: int | None = Field(examples=[2])
    """Epochs of the whole training."""
    seconds: float = Field(examples=[3.5])
    """That it has trained for."""
    device: str | None = Field(examples=["cpu"])
    started: str | None = Field(examples=["2026-01-01T00:00:00+00:00"])
    ended: str | None = Field(examples=["2026-01-01T00:00:04+00:00"])


class TrialDetail(Trial):
    """One trial with its configuration and all figures."""

    config: dict[str, Any] = Field(examples=[{"model": "cnn2", "lr": 0.01}])
    """Every knob."""
    history: dict[str, list[float | None]] = Field(examples=[{"train_loss": [1.2, 0.7]}])
    """One list per figure, one item per epoch."""
    measures: dict[str, list[float | None]] = Field(examples=[{}])
    """The same of further metrics; null where an epoch was not measured."""
    metrics: dict[str, float | None] = Field(examples=[{}])
    """What else is known of metrics."""
    parameters: int | None = Field(examples=[25000])
    flops: int | None = Field(examples=[1000000])
    precision: str | None = Field(examples=["fp32"])
    resumed_from: list[int] = Field(examples=[[]])
    """Epochs after which it was interrupted and went on."""


class TrialList(_Model):
    """A page of trials."""

    trials: list[Trial]
    next: int | None = Field(examples=[None])
    """Ask for the next page with `first` set to this; null on the last one."""


class BestConfiguration(_Model):
    """What a study has come to: the winner of its race, else its best configuration."""

    number: int = Field(examples=[12])
    """Its trial."""
    value: float | None = Field(examples=[0.9433])
    values: dict[str, float | None] = Field(examples=[{"val_accuracy": 0.9433}])
    params: dict[str, Any] = Field(examples=[{"lr": 0.01}])
    config: dict[str, Any] = Field(examples=[{"model": "cnn2", "lr": 0.01}])
    """Every knob as it stands in a file."""
    yaml: str = Field(examples=["data: {name: digits}\ntrain: {model: cnn2, lr: 0.01}\n"])
    """The text of `best.yaml`, for `cifar-tune train`."""


class FrontTrial(_Model):
    """A trial on the Pareto front."""

    number: int = Field(examples=[12])
    values: dict[str, float | None] = Field(examples=[{"val_accuracy": 0.9433, "parameters": 25000}])
    params: dict[str, Any] = Field(examples=[{"lr": 0.01}])
    parameters: int | None = Field(examples=[25000])
    flops: int | None = Field(examples=[1000000])


class Front(_Model):
    """The Pareto front; of one objective the best trial alone."""

    trials: list[FrontTrial]


class ImportancesTold(_Model):
    """How much each searched knob had to do with reaching the best trials."""

    shares: dict[str, float] = Field(examples=[{"lr": 0.8, "weight_decay": 0.2}])
    """They add up to 1; empty where there are none."""
    basis: str | None = Field(examples=["the best 5 of 40 completed trials against all of them"])
    """On how much they rest."""
    why_none: str | None = Field(examples=[None])
    """Why there are none."""


class FileTold(_Model):
    """A file that can be had."""

    name: str = Field(examples=["report.html"])
    size: int | None = Field(examples=[120000])
    """In bytes; null of a file that is made when it is asked for."""


class Files(_Model):
    """Files that can be had."""

    files: list[FileTold]


class Queue(_Model):
    """What runs, then what waits in its order, then what is paused."""

    submissions: list[SubmissionTold]


class Slot(_Model):
    """A part of a device on which one trial runs at a time."""

    number: int = Field(examples=[0])
    device: str = Field(examples=["cuda:0"])
    study: str | None = Field(examples=["digits"])
    """Whose trial it runs; null if it is free."""


class Slots(_Model):
    """What the machine has, and who uses it."""

    slots: list[Slot]
    as_of: float | None = Field(examples=[1767225600.0])
    """When the server last said so, in seconds since the epoch; null if it has not."""


class EventTold(_Model):
    """Something that somebody did, or tried to do."""

    id: int = Field(examples=[41])
    at: float = Field(examples=[1767225600.0])
    """In seconds since the epoch."""
    actor: str = Field(examples=["ada"])
    action: str = Field(examples=["submit"])
    target: str | None = Field(examples=["digits"])
    outcome: Literal["done", "refused", "failed"] = Field(examples=["done"])
    detail: dict[str, Any] = Field(examples=[{"priority": 0}])


class Events(_Model):
    """A page of events, the oldest first."""

    events: list[EventTold]
    last: int = Field(examples=[41])
    """Ask for what comes later with `after` set to this."""


class NewToken(_Model):
    """A token to be made."""

    owner: str = Field(min_length=1, max_length=100, examples=["ada"])
    """Who will use it."""
    role: Role = Field("viewer", examples=["editor"])
    label: str = Field("", max_length=100, examples=["laptop"])
    """What it is for."""
    expires_at: float | None = Field(None, examples=[1798761600.0])
    """In seconds since the epoch; null: it is valid until it is revoked."""


class TokenTold(_Model):
    """A token without its secret. Times are seconds since the epoch."""

    id: int = Field(examples=[3])
    owner: str = Field(examples=["ada"])
    role: Role = Field(examples=["editor"])
    label: str = Field(examples=["laptop"])
    created_by: str = Field(examples=["root"])
    created_at: float = Field(examples=[1767225600.0])
    expires_at: float | None = Field(examples=[None])
    used_at: float | None = Field(examples=[None])
    revoked_at: float | None = Field(examples=[None])


class MadeToken(TokenTold):
    """A token that was just made. The secret is shown here, and never again."""

    secret: str = Field(examples=["ct_..."])


class LogPart(_Model):
    """A part of the log of a study's runs."""

    text: str = Field(examples=["trial 12: val_accuracy 0.9433\n"])
    next: int = Field(examples=[30])
    """Ask for what comes later with `offset` set to this."""


class Tokens(_Model):
    """Tokens, the oldest first."""

    tokens: list[TokenTold]


class Me(_Model):
    """Who asks."""

    name: str = Field(examples=["ada"])
    role: Role = Field(examples=["editor"])


class StoppedTold(_Model):
    """Who was asked to stop."""

    study: str = Field(examples=["digits"])
    asked: tuple[str, ...] = Field(examples=[["process 4711 on lab1"]])
    """The processes that park the study, within an epoch."""
    is_paused: bool = Field(examples=[True])
    """Whether the study was submitted, and waits until somebody resumes it."""


class Deleted(_Model):
    """What was removed."""

    study: str = Field(examples=["digits"])
    linked: list[str] = Field(examples=[["digits/finals"]])
    """Studies that `finalize` had made for it."""
    left: list[str] = Field(examples=[[]])
    """Files of theirs that could not be deleted."""


class OwnerTold(_Model):
    """What somebody may use; null as for `*`, and of `*` weight 1 and no limits."""

    name: str = Field(examples=["ada"])
    """The person; `*` stands for everybody for whom nothing else is said."""
    weight: float | None = Field(examples=[2.0])
    """Of the fair share of device time."""
    slots: int | None = Field(examples=[4])
    """The most slots at a time."""
    queued: int | None = Field(examples=[20])
    """The most studies that may wait."""
    trials: int | None = Field(examples=[5000])
    """The most trials in studies that have not ended, together."""


class OwnerChange(_Model):
    """What somebody may use from now on; null leaves a thing as it is."""

    weight: float | None = Field(None, gt=0, le=1e6, examples=[2.0])
    slots: int | None = Field(None, ge=0, lt=2**31, examples=[4])
    queued: int | None = Field(None, ge=0, lt=2**31, examples=[20])
    trials: int | None = Field(None, ge=0, lt=2**31, examples=[5000])
    resets: bool = Field(False, examples=[False])
    """What is null is left to `*` from now on."""


class Owners(_Model):
    """What is said of owners."""

    owners: list[OwnerTold]


class Alive(_Model):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(_Model):
    """Whether the service can do its work, and each part of it."""

    ready: bool = Field(examples=[True])
    parts: dict[str, str] = Field(examples=[{"database": "ok", "server": "ok", "coordinators": "ok"}])
    """ok, or what is wrong, by the part's name."""
