"""The one process that owns a study: it asks, hands out, reports, prunes, tells and parks.

It alone writes to the database, so the budget is exact, and a dead executor is known at once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cifar_tune.errors import CheckError, UserError
from cifar_tune.executors.messages import Began, Died, Ended, EpochDone, Job, Notice, Ready, Refused, Report, Verdict
from cifar_tune.samplers.build import neutral_sampler
from cifar_tune.storage import attributes
from cifar_tune.storage.urls import checkpoint_file
from cifar_tune.study.asking import ask, is_exhausted, next_waiting
from cifar_tune.study.checkpoints import sweep
from cifar_tune.study.estimate import Estimate
from cifar_tune.study.interruption import StopRequests
from cifar_tune.study.observer import Observer, TrialEnd
from cifar_tune.study.opening import record_environment
from cifar_tune.study.running import RunningTrial
from cifar_tune.study_spec.specification import StudySpec

_MOST_DEATHS = 3
_POLL_SECONDS = 0.25

Ending = Literal["budget", "exhausted", "timeout", "interrupted"]


class Executors(Protocol):
    """What a coordinator needs of a pool of executors."""

    @property
    def workers(self) -> int:
        """How many trials can run at a time."""
        ...

    def idle(self) -> bool:
        """Whether an executor is ready for a job."""
        ...

    def submit(self, job: Job) -> None:
        """Give a job to an idle executor."""
        ...

    def answer(self, number: int, verdict: Verdict) -> None:
        """Answer the executor that trains trial `number`."""
        ...

    def finished(self, number: int) -> None:
        """The executor of trial `number` is free again."""
        ...

    def reports(self, timeout: float) -> list[Report | Died]:
        """What executors have said."""
        ...

    def close(self, at_once: Callable[[], bool]) -> None:
        """End all executors."""
        ...


@dataclass(frozen=True, slots=True)
class Watch:
    """What a coordinator looks at besides its executors: who watches, who wants it to stop, its right to run."""

    observer: Observer
    stop: StopRequests
    keep_lease: Callable[[], None]


class Coordinator:
    """Runs one study up to its budget."""

    def __init__(
        self, storage: RDBStorage, study: optuna.Study, spec: StudySpec, executors: Executors, watch: Watch
    ) -> None:
        self._storage = storage
        self._study = study
        self._spec = spec
        self._executors = executors
        self._watch = watch
        self._observer = watch.observer
        self._running: dict[int, RunningTrial] = {}
        self._started = time.monotonic()
        self._elapsed_before = float(study.user_attrs.get(attributes.ELAPSED, 0.0))
        self._false_starts = 0
        self._estimate = Estimate(spec, executors.workers)
        self._finished = 0
        self._environment_known = False

    def run(self) -> Ending:
        """Run until the budget is used up, the space is exhausted, time is over, or somebody asks to stop.

        Raises:
            CheckError: if executors cannot start, or the lease was lost.
            UserError: if an executor refuses its device.
        """
        self._repair()
        try:
            return self._loop()
        finally:
            self._write_elapsed()

    def _loop(self) -> Ending:
        while True:
            self._watch.keep_lease()
            if self._watch.stop.park or self._time_is_over():
                return self._park_all()
            more = self._may_start()
            if not more and not self._running:
                return "budget" if self._finished >= self._spec.budget.trials else "exhausted"
            while more and self._executors.idle():
                self._start_next()
                more = self._may_start()
            for report in self._executors.reports(_POLL_SECONDS):
                self._handle(report)

    def _may_start(self) -> bool:
        if self._finished + len(self._running) >= self._spec.budget.trials:
            return False
        return next_waiting(self._study) is not None or not is_exhausted(self._study, self._spec)

    def _start_next(self) -> None:
        trial, config = ask(self._study, self._spec)
        running = RunningTrial(trial, config, self._spec.objective)
        self._running[trial.number] = running
        file = checkpoint_file(self._spec.name, trial.number)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._executors.submit(Job(trial.number, dict(config), self._spec.data, file.absolute()))

    def _handle(self, report: Report | Died) -> None:
        match report:
            case Ready():
                self._false_starts = 0
                if not self._environment_known:
                    self._environment_known = True
                    self._note(record_environment(self._study, report.environment))
            case Refused():
                raise UserError(report.message)
            case Began():
                self._begin(self._running[report.number], report)
            case EpochDone():
                running = self._running[report.number]
                value, _ = running.add(report.result)
                self._observer.epoch(running.number, report.result, value)
                self._note(self._estimate.after(report.result, self._finished))
                self._judge(running)
            case Notice():
                self._note(f"trial {report.number}: {report.text}")
            case Ended():
                self._end(report)
            case Died():
                self._mourn(report)

    def _begin(self, running: RunningTrial, began: Began) -> None:
        running.begin(began)
        self._observer.began(running.number, running.trial.params, running.epochs, len(began.results))
        for result in began.results:
            value, is_new = running.add(result)
            if is_new:
                self._observer.epoch(running.number, result, value)
        if running.is_judged:
            self._executors.answer(running.number, Verdict(go_on=True))
        else:
            self._judge(running)

    def _judge(self, running: RunningTrial) -> None:
        """Ask the pruner. A pruned trial ends here and now: an interruption could not lose the verdict any more."""
        pruned = running.should_prune()
        if pruned:
            del self._running[running.number]
            self._tell(running, TrialState.PRUNED, "pruned")
        self._executors.answer(running.number, Verdict(go_on=not pruned))

    def _end(self, ended: Ended) -> None:
        self._executors.finished(ended.number)
        if ended.outcome == "stopped":  # pruned, and told so
            return
        running = self._running.pop(ended.number)
        match ended.outcome:
            case "completed":
                self._tell(running, TrialState.COMPLETE, "completed")
            case "diverged" | "out_of_memory":
                self._tell(running, TrialState.PRUNED, ended.outcome, detail=ended.detail)
            case "error":
                self._tell(running, TrialState.FAIL, "error", error=ended.detail)

    def _tell(self, running: RunningTrial, state: TrialState, reason: str, error: str = "", detail: str = "") -> None:
        self._study.sampler = neutral_sampler()  # a sampler that has tried everything would stop a study, not end it
        running.tell(state, reason, error)
        self._finished += 1
        self._write_elapsed()
        trials = self._study.get_trials(deepcopy=False)
        maximize = self._spec.objective.direction == "maximize"
        sweep(self._spec.name, trials, maximize)
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        best = (max if maximize else min)(complete, key=lambda trial: trial.value or 0.0, default=None)
        self._observer.ended(
            TrialEnd(
                number=running.number,
                state=state.name,
                reason=reason,
                value=running.value if running.results else None,
                best_number=best.number if best else None,
                best_value=best.value if best else None,
                finished=self._finished,
                detail=(error.strip().splitlines() or [""])[-1] or detail,
            )
        )

    def _mourn(self, died: Died) -> None:
        """An executor is gone: its trial goes on elsewhere, unless executors keep dying under it."""
        if died.number is None:
            self._false_starts += 1
            if self._false_starts >= _MOST_DEATHS:
                raise CheckError(
                    f"executors cannot start: {_MOST_DEATHS} in a row ended with exit code {died.exit_code}"
                )
            return
        running = self._running.pop(died.number, None)
        if running is None:  # it was pruned a moment ago
            return
        deaths = running.count_death()
        if deaths >= _MOST_DEATHS:
            reason = f"its executor died {deaths} times without finishing an epoch (last exit code {died.exit_code})"
            self._tell(running, TrialState.FAIL, "error", error=reason)
            return
        self._note(f"trial {running.number}: its executor died (exit code {died.exit_code}); it goes on in another")
        self._set_waiting(running)

    def _park_all(self) -> Ending:
        self._executors.close(lambda: self._watch.stop.at_once)
        for running in self._running.values():
            running.write_down()
            self._set_waiting(running)
            self._observer.parked(running.number, len(running.results))
        self._running.clear()
        return "interrupted" if self._watch.stop.park else "timeout"

    def _set_waiting(self, running: RunningTrial) -> None:
        """Optuna's own retry would give the trial a new number, and blind successive halving to its rungs."""
        self._storage.set_trial_state_values(running.trial._trial_id, TrialState.WAITING)

    def _repair(self) -> None:
        """Take up what a run that was killed left behind."""
        trials = self._study.get_trials(deepcopy=False)
        orphans = [trial for trial in trials if trial.state == TrialState.RUNNING]
        for trial in orphans:
            self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
        if orphans:
            numbers = ", ".join(str(trial.number) for trial in orphans)
            self._note(f"an earlier run was killed while it trained trial {numbers}: taken up at the last checkpoint")
        self._finished = sum(trial.state.is_finished() for trial in trials)
        sweep(self._spec.name, trials, self._spec.objective.direction == "maximize")

    def _time_is_over(self) -> bool:
        timeout = self._spec.budget.timeout
        return timeout is not None and self._elapsed() >= timeout

    def _elapsed(self) -> float:
        return self._elapsed_before + time.monotonic() - self._started

    def _write_elapsed(self) -> None:
        self._study.set_user_attr(attributes.ELAPSED, round(self._elapsed(), 1))

    def _note(self, text: str | None) -> None:
        if text:
            self._observer.note(text)
