"""What is answered about studies: lists, one study, its trials, results, files and log."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from cifar_tune.service.submissions import State
from cifar_tune.web.models import Model
from cifar_tune.web.models.queueing import SubmissionTold


class Best(Model):
    """The best trial so far."""

    number: int = Field(examples=[12])
    value: float | None = Field(examples=[0.9433])


class StudySummary(Model):
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


class StudyList(Model):
    """A page of studies."""

    studies: list[StudySummary]
    total: int = Field(examples=[1])
    """How many there are on all pages."""
    offset: int = Field(examples=[0])
    """Where this page begins."""


class Study(Model):
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


class Trial(Model):
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


class TrialList(Model):
    """A page of trials."""

    trials: list[Trial]
    next: int | None = Field(examples=[None])
    """Ask for the next page with `first` set to this; null on the last one."""


class BestConfiguration(Model):
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


class FrontTrial(Model):
    """A trial on the Pareto front."""

    number: int = Field(examples=[12])
    values: dict[str, float | None] = Field(examples=[{"val_accuracy": 0.9433, "parameters": 25000}])
    params: dict[str, Any] = Field(examples=[{"lr": 0.01}])
    parameters: int | None = Field(examples=[25000])
    flops: int | None = Field(examples=[1000000])


class Front(Model):
    """The Pareto front; of one objective the best trial alone."""

    trials: list[FrontTrial]


class ImportancesTold(Model):
    """How much each searched knob had to do with reaching the best trials."""

    shares: dict[str, float] = Field(examples=[{"lr": 0.8, "weight_decay": 0.2}])
    """They add up to 1; empty where there are none."""
    basis: str | None = Field(examples=["the best 5 of 40 completed trials against all of them"])
    """On how much they rest."""
    why_none: str | None = Field(examples=[None])
    """Why there are none."""


class FileTold(Model):
    """A file that can be had."""

    name: str = Field(examples=["report.html"])
    size: int | None = Field(examples=[120000])
    """In bytes; null of a file that is made when it is asked for."""


class Files(Model):
    """Files that can be had."""

    files: list[FileTold]


class LogPart(Model):
    """A part of the log of a study's runs."""

    text: str = Field(examples=["trial 12: val_accuracy 0.9433\n"])
    next: int = Field(examples=[30])
    """Ask for what comes later with `offset` set to this."""
