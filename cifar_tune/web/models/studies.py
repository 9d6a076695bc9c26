"""What is answered about studies: lists, one study, its trials, results, files and log."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from cifar_tune.service.submissions import State
from cifar_tune.web.models import Model
from cifar_tune.web.models.queueing import SubmissionTold


class Best(Model):
    """The best trial so far."""

    number: int = Field(examples=[12])
    """Its number."""
    value: float | None = Field(examples=[0.9433])
    """The objective, the first one of several."""


class StudySummary(Model):
    """A study in a list."""

    name: str = Field(examples=["digits"])
    """The study's name."""
    owner: str | None = Field(examples=["ada"])
    """The owner of the study; null if `cifar-tune run` made it."""
    state: State | None = Field(examples=["running"])
    """The state of its newest submission; null if there is none."""
    submission: int | None = Field(examples=[17])
    """The number of that submission."""
    counts: dict[str, int] = Field(examples=[{"COMPLETE": 12, "RUNNING": 2}])
    """The number of trials in each state."""
    finished: int = Field(examples=[12])
    """The number of trials that count against the budget."""
    budget_trials: int | None = Field(examples=[20])
    """The largest number of trials; of a grid at most its combinations."""
    objective: str | None = Field(examples=["val_accuracy"])
    """The metric that is optimized; the first one of several."""
    direction: str | None = Field(examples=["maximize"])
    """Whether the objective is to `maximize` or to `minimize`."""
    best: Best | None = None
    """The best trial so far."""
    trouble: str | None = Field(examples=[None])
    """Why nothing more is known about the study; null if all is well."""
    status: dict[str, Any] | None = Field(None, examples=[None])
    """The status, as in `cifar-tune status --json`, if `details` was set; null if no run has begun yet."""


class StudyList(Model):
    """A page of studies."""

    studies: list[StudySummary]
    """The studies of this page."""
    total: int = Field(examples=[1])
    """The number of studies on all pages."""
    offset: int = Field(examples=[0])
    """The number of studies on the pages before this one."""


class Study(Model):
    """One study: what was submitted, and how it stands."""

    name: str = Field(examples=["digits"])
    """The study's name."""
    owner: str | None = Field(examples=["ada"])
    """The owner of the study; null if `cifar-tune run` made it."""
    submission: SubmissionTold | None = None
    """Its newest submission."""
    status: dict[str, Any] | None = Field(
        None, examples=[{"name": "digits", "finished": 12, "counts": {"COMPLETE": 12}}]
    )
    """The same as `cifar-tune status --json`; null before its first run has begun."""
    rights: list[str] = Field(examples=[["pause", "cancel"]])
    """What you may do with it."""


class Trial(Model):
    """A trial with the values after each of its epochs."""

    model_config = ConfigDict(extra="allow")

    number: int = Field(examples=[12])
    """Its number, from 0."""
    state: Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"] = Field(examples=["COMPLETE"])
    """Its state, as Optuna names it."""
    reason: str | None = Field(examples=["completed"])
    """Why it ended."""
    error: str | None = Field(examples=[None])
    """What went wrong; null if nothing did."""
    value: float | None = Field(examples=[0.9433])
    """The objective; of a pruned trial its last value."""
    values: list[float] = Field(examples=[[0.9433]])
    """All objectives, in the order of the study file."""
    feasible: bool | None = Field(examples=[True])
    """Whether it keeps all constraints; null if that is not known yet."""
    source: str = Field(examples=["sampler"])
    """Where its values come from: sampler, start_from, transfer_from or enqueued."""
    params: dict[str, Any] = Field(examples=[{"lr": 0.01}])
    """The searched knobs with the values that training uses."""
    seed: int | None = Field(None, examples=[0])
    """The seed of its training; null where that is not known yet."""
    intermediate: list[tuple[int, float | None]] = Field(examples=[[[1, 0.81], [2, 0.9433]]])
    """Pairs of an epoch and the objective after it."""
    epochs: int = Field(examples=[2])
    """The number of finished epochs."""
    budget_epochs: int | None = Field(examples=[2])
    """The number of epochs of the whole training."""
    seconds: float = Field(examples=[3.5])
    """How long it has trained, in seconds."""
    device: str | None = Field(examples=["cpu"])
    """The device that it trained on last."""
    started: str | None = Field(examples=["2026-01-01T00:00:00+00:00"])
    """When it began, in UTC; null if it has not."""
    ended: str | None = Field(examples=["2026-01-01T00:00:04+00:00"])
    """When it ended, in UTC; null if it has not."""


class TrialDetail(Trial):
    """One trial with its configuration and all figures."""

    config: dict[str, Any] = Field(examples=[{"model": "cnn2", "lr": 0.01}])
    """The value of every knob."""
    history: dict[str, list[float | None]] = Field(examples=[{"train_loss": [1.2, 0.7]}])
    """For each figure a list with one item per epoch."""
    measures: dict[str, list[float | None]] = Field(examples=[{}])
    """The same for the further metrics of the study; null for an epoch without a value."""
    metrics: dict[str, float | None] = Field(examples=[{}])
    """Further values of metrics, by name."""
    parameters: int | None = Field(examples=[25000])
    """Learned parameters of the model."""
    flops: int | None = Field(examples=[1000000])
    """Multiply-adds of the forward pass of one image."""
    precision: str | None = Field(examples=["fp32"])
    """The precision that it trained in."""
    resumed_from: list[int] = Field(examples=[[]])
    """The epochs at which it went on after an interruption."""


class TrialList(Model):
    """A page of trials."""

    trials: list[Trial]
    """The trials of this page."""
    next: int | None = Field(examples=[None])
    """For the next page, set `first` to this; null on the last page."""


class Live(Model):
    """A study as it stands: what each event of its stream says."""

    status: dict[str, Any] = Field(examples=[{"name": "digits", "finished": 12, "counts": {"COMPLETE": 12}}])
    """As `cifar-tune status --json` has it, without the keys that are long."""
    front_size: int | None = Field(examples=[None])
    """Trials on the Pareto front; null with one objective."""
    without_best: str | None = Field(examples=[None])
    """Why there is no best trial; null where there is one."""
    seconds_left: float | None = Field(examples=[120.0])
    """How long the rest takes if it goes on as before; null where nobody can tell."""
    begun: int = Field(examples=[2])
    """How many trials run, are parked or paused."""
    running: list[Trial]
    """Those trials, at most 64 of them, each with `epoch_seconds`: how long its last epoch took."""
    ended: list[Trial]
    """The ten trials that ended last, in the order of their ends."""


class BestConfiguration(Model):
    """The result of a study: the winner of its race, or else its best configuration."""

    number: int = Field(examples=[12])
    """The number of its trial."""
    value: float | None = Field(examples=[0.9433])
    """The objective, the first one of several."""
    values: dict[str, float | None] = Field(examples=[{"val_accuracy": 0.9433}])
    """All objectives, by name."""
    params: dict[str, Any] = Field(examples=[{"lr": 0.01}])
    """The searched knobs."""
    config: dict[str, Any] = Field(examples=[{"model": "cnn2", "lr": 0.01}])
    """The value of every knob, as in a CONFIG file."""
    yaml: str = Field(examples=["data: {name: digits}\ntrain: {model: cnn2, lr: 0.01}\n"])
    """The text of `best.yaml`, for `cifar-tune train`."""


class FrontTrial(Model):
    """A trial on the Pareto front."""

    number: int = Field(examples=[12])
    """Its number."""
    values: dict[str, float | None] = Field(examples=[{"val_accuracy": 0.9433, "parameters": 25000}])
    """All objectives, by name."""
    params: dict[str, Any] = Field(examples=[{"lr": 0.01}])
    """The searched knobs."""
    parameters: int | None = Field(examples=[25000])
    """Learned parameters of the model."""
    flops: int | None = Field(examples=[1000000])
    """Multiply-adds of the forward pass of one image."""


class Front(Model):
    """The Pareto front; with one objective only the best trial."""

    trials: list[FrontTrial]
    """The trials of the front, the best first objective first."""


class ImportancesTold(Model):
    """How much each searched knob had to do with reaching the best trials."""

    shares: dict[str, float] = Field(examples=[{"lr": 0.8, "weight_decay": 0.2}])
    """The importance of each knob. They add up to 1; empty if there are none."""
    basis: str | None = Field(examples=["the best 5 of 40 completed trials against all of them"])
    """The trials that they are computed from."""
    why_none: str | None = Field(examples=[None])
    """Why there are none; null if there are."""


class LevelTold(Model):
    """The trials with one value of a knob. A figure is null where it cannot be known."""

    level: str = Field(examples=["adamw"])
    """The value, or the range of values."""
    finished: int = Field(examples=[12])
    """The number of trials that have ended."""
    completed: int = Field(examples=[10])
    """The number of trials that have completed."""
    pruned: int = Field(examples=[2])
    """The number of trials that were stopped early."""
    failed: int = Field(examples=[0])
    """The number of trials that failed."""
    best: float | None = Field(examples=[0.9433])
    """The best objective."""
    mean: float | None = Field(examples=[0.931])
    """The mean of the objective over completed trials."""
    ci95_low: float | None = Field(examples=[0.925])
    """The lower end of the 95 % confidence interval of the mean."""
    ci95_high: float | None = Field(examples=[0.937])
    """Its upper end."""
    seconds_mean: float | None = Field(examples=[31.5])
    """The mean training time of a trial, in seconds."""
    parameters_min: int | None = Field(examples=[25000])
    """The smallest number of trainable parameters."""
    parameters_max: int | None = Field(examples=[25000])
    """The largest number of trainable parameters."""
    difference: float | None = Field(examples=[-0.012])
    """The paired difference from the level with the best mean; null where the levels cannot be paired."""
    difference_ci95_low: float | None = Field(examples=[-0.02])
    """The lower end of its 95 % confidence interval."""
    difference_ci95_high: float | None = Field(examples=[-0.004])
    """Its upper end."""
    standard_error: float | None = Field(examples=[None])
    """The standard error of the mean, in a study with `repeats`."""


class ComparisonTold(Model):
    """The levels of one knob side by side."""

    study: str = Field(examples=["digits"])
    """The study's name."""
    knob: str = Field(examples=["optimizer"])
    """The knob."""
    metric: str = Field(examples=["val_accuracy"])
    """The objective, the first one of several."""
    levels: list[LevelTold]
    """The levels in their natural order, with all figures at full precision."""
    header: list[str] = Field(examples=[["optimizer", "trials", "best", "mean", "time", "parameters"]])
    """The columns of the table for people."""
    rows: list[list[str]] = Field(examples=[[["adamw", "10 completed", "94.33 %", "93.10 %", "31.5 s", "25,000"]]])
    """Its rows, one for each level."""
    conditions: str = Field(examples=["The levels were tried with the same values of the other knobs."])
    """Whether the comparison is fair, in sentences."""
    markdown: str = Field(examples=["# digits: optimizer\n"])
    """All of it as Markdown, as `cifar-tune compare` prints it."""


class FileTold(Model):
    """A file that you can download."""

    name: str = Field(examples=["report.html"])
    """Its name."""
    size: int | None = Field(examples=[120000])
    """Its size in bytes; null if the file is made when you ask for it."""


class Files(Model):
    """Files that you can download."""

    files: list[FileTold]
    """The files."""


class LogPart(Model):
    """A part of the log of a study's runs."""

    text: str = Field(examples=["trial 12: val_accuracy 0.9433\n"])
    """The text, from `offset` on."""
    next: int = Field(examples=[30])
    """For later text, set `offset` to this."""
