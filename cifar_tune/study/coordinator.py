"""The one process that owns a study: it asks, hands out, reports, prunes, tells and parks.

It alone changes the study, so the budget is exact, and a dead executor is known at once. It works in memory, and the
database is written beside it: the end of a trial is announced when it stands there.
"""

from contextlib import suppress
from typing import Literal

import optuna
from optuna.trial import TrialState

from cifar_tune.errors import CifarTuneError, UserError, last_line
from cifar_tune.executors.messages import Began, Died, Ended, EpochDone, Notice, Ready, Refused, Report, Verdict
from cifar_tune.executors.pool import Executors
from cifar_tune.optuna_internals import trial_id
from cifar_tune.storage import attributes
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.budget import ElapsedTime, Estimate
from cifar_tune.study.ends import Ends
from cifar_tune.study.events import Watch
from cifar_tune.study.failing_executors import FailingExecutors
from cifar_tune.study.finding_workers import FindingWorkers
from cifar_tune.study.next_trial import NextTrials, RefusedTrial
from cifar_tune.study.opening import record_environment, repair
from cifar_tune.study.other_programs import OtherPrograms
from cifar_tune.study.planned import Planned
from cifar_tune.study.promoting import Promoting
from cifar_tune.study.repeating import Repeating
from cifar_tune.study.resizing import Resizing
from cifar_tune.study.script import Script
from cifar_tune.study.stopping import Stopping
from cifar_tune.study.trial import RunningTrial
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import counted

_MOST_DEATHS = 3
_POLL_SECONDS = 0.25
_LAST_SECONDS = 10.0
_ADMISSION_SECONDS = 1.0

Ending = Literal["budget", "elsewhere", "exhausted", "stopped", "timeout", "interrupted"]
"""`stopped`: by the rule `stop` of the study file. `elsewhere`: what is left of the budget is being run by another
program."""


class Coordinator:
    """Runs one study up to its budget."""

    def __init__(
        self,
        storage: WriteBehindStorage,
        study: optuna.Study,
        spec: StudySpec,
        executors: Executors,
        watch: Watch,
        script: Script | None = None,
        finding: FindingWorkers | None = None,
    ) -> None:
        self._storage = storage
        self._planned = Planned(study, storage, script, watch.observer.note) if script is not None else None
        self._study = study
        self._spec = spec
        self._executors = executors
        self._failing = FailingExecutors(executors, watch.observer.note)
        self._watch = watch
        self._observer = watch.observer
        self._others = OtherPrograms(storage, spec, watch.observer)
        self._running: dict[int, RunningTrial] = {}
        self._elapsed = ElapsedTime(study)
        self._estimate = Estimate(spec, executors.workers)
        self._finding = finding
        self._resizing = Resizing(executors, spec, watch, self._estimate, self._elapsed, finding)
        self._stopping = Stopping(study, spec)
        self._repeating = Repeating(study, spec)
        self._next = NextTrials(storage, study, spec, watch, self._planned, self._repeating, self._stopping)
        self._promoting = Promoting(study, storage, spec)
        self._ends = Ends(storage, study, spec, watch, self._elapsed, self._planned, self._repeating)
        self._environment_known = False

    def run(self) -> Ending:
        """Run until the budget is used up, the space is exhausted, time is over, or somebody asks to stop.

        Raises:
            CheckError: if executors cannot start or all of them have refused, the lease was lost, or the database stays
                away.
            UserError: if the first trial finds that the input is wrong.
        """
        self._watch.stop.is_polled = True
        self._take_up()
        self._resizing.begin()
        try:
            ending = self._loop()
        except BaseException:
            self._set_running_aside()
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.number in self._storage.run_elsewhere:
                    continue  # that is another program's affair; all others were being drawn
                self._storage.set_trial_state_values(trial_id(trial), TrialState.WAITING)
            with suppress(CifarTuneError):  # the first error says more than the next
                self._storage.flush(_LAST_SECONDS)
            raise
        self._elapsed.write()
        if not self._ends.announcements.wait():
            ending = "interrupted"
        self._ends.sweep(half_written=True)  # no executor trains any more
        return ending

    def _loop(self) -> Ending:
        while True:
            self._storage.raise_if_failed()
            self._others.leave(self._running, self._ends.standing, self._elapsed.seconds)
            self._ends.announcements.look()
            if self._storage.run_elsewhere:
                self._admit_others()  # they count when they end
            left = self._left(self._budget)
            paused = bool(self._promoting.paused)
            if left <= 0 and not self._running and not paused:
                return "budget" if self._ends.standing.finished >= self._budget else "elsewhere"
            if self._watch.stop.park or self._time_is_over():
                return self._park_all()
            self._resizing.look(self._running, left)
            can_start = self._executors.idle() and not self._storage.is_behind and not self._waits()
            if can_start and (left > 0 or paused):
                if self._start_next(left > 0):
                    continue
                if not self._running and not self._failing.leaving:
                    if not paused:
                        return self._without_more()
                    self._ends.end_hopeless(self._promoting, is_over=True)
                    continue
            for report in self._executors.reports(_POLL_SECONDS):
                self._handle(report)
            self._end_hanging()
            self._elapsed.write_if_due()

    @property
    def _budget(self) -> int:
        """How many trials end it. Where they are planned, those of another program take the place of none."""
        others = self._ends.standing.strangers if self._planned is not None else 0
        return self._spec.budget.trials + others

    def _without_more(self) -> Ending:
        """Why no further trial is drawn."""
        if self._stopping.words is None:
            words = self._repeating.words
            if words:
                self._stopping.write(self._ends.standing.finished, words)
            return "exhausted"
        self._stopping.write(self._ends.standing.finished)
        return "stopped"

    def _left(self, trials: int) -> int:
        """Of this many trials, how many are neither finished nor begun, here or in another program."""
        begun = len(self._running) + len(self._promoting.paused) + len(self._storage.run_elsewhere)
        return trials - self._ends.standing.finished - begun

    def _waits(self) -> bool:
        return self._next.waits_for_a_batch(min(self._running, default=None))

    def _start_next(self, may_begin: bool) -> bool:
        """Start one more trial, or go on with a paused one; False if there is none left to try.

        Args:
            may_begin: whether the budget allows for a further one.
        """
        if self._admit_others():
            return True  # what they finished counts
        promoted = self._promoting.next(self._failing.leaving)
        if promoted is None and may_begin:
            left = self._left(self._ends.standing.most)
            found = self._next.take(left, self._ends.standing.finished, self._executors.workers)
            if isinstance(found, RefusedTrial):
                self._ends.standing.count(found.trial)
                return True
            if found is not None:
                self._begin_or_repeat(found)
                return True
        if promoted is None:
            promoted = self._promoting.next_to_complete(self._failing.leaving, len(self._running))
        if promoted is not None:
            self._hand_out(self._next.take_up(promoted))
        return promoted is not None

    def _begin_or_repeat(self, running: RunningTrial) -> None:
        earlier = self._ends.standing.trained_before(running.config, running.number)
        if earlier is not None:
            earlier = self._storage.with_history(earlier, _ADMISSION_SECONDS)  # without it, it is trained again
        if earlier is None:
            self._hand_out(running)
        else:
            self._ends.take_over(running, earlier)

    def _hand_out(self, running: RunningTrial) -> None:
        self._running[running.number] = running
        self._executors.submit(self._next.job(running))

    def _admit_others(self) -> bool:
        return self._others.admit(self._ends.standing, _ADMISSION_SECONDS)

    def _handle(self, report: Report | Died) -> None:
        if self._finding is not None:
            self._finding.hear(report)
        match report:
            case Ready():
                self._failing.one_has_started()
                if not self._environment_known:
                    self._environment_known = True
                    self._note(record_environment(self._study, report.environment))
            case Refused():
                self._failing.do_without(*report.message.split("\n"))
            case Began() | EpochDone() if report.number not in self._running:
                self._failing.let_go(report.number)  # another program has ended its trial
            case Began():
                self._begin(self._running[report.number], report)
            case EpochDone():
                running = self._running[report.number]
                running.split_into(report.micro_batches)
                value, _ = running.add(report.result)
                self._observer.epoch(running.number, report.result, value)
                standing, seconds = self._ends.standing, self._elapsed.seconds
                self._note(self._estimate.after(report.result, standing.finished, seconds, standing.strangers))
                self._judge(running)
            case Notice():
                self._note(f"trial {report.number}: {report.text}")
            case Ended():
                self._end(report)
            case Died():
                self._handle_death(report)

    def _begin(self, running: RunningTrial, began: Began) -> None:
        if running.finished_epochs and not began.results:
            self._note(
                f"trial {running.number}: begins again, since there is no checkpoint of its "
                f"{counted(running.finished_epochs, 'epoch')}"
            )
        running.begin(began)
        if running.need_not_be_trained:
            del self._running[running.number]
            self._ends.tell(running, TrialState.PRUNED, "infeasible")
            self._failing.let_go(running.number)
            return
        self._observer.began(running.number, running.searched, running.epochs, len(began.results))
        for result in began.results:
            value, is_new = running.add(result)
            if is_new:
                self._observer.epoch(running.number, result, value)
        if running.is_judged:
            self._go_on_or_leave(running)
        else:
            self._judge(running)

    def _judge(self, running: RunningTrial) -> None:
        """Ask the pruner. A pruned trial ends here and now, and the verdict is written down first.

        Successive halving gives its verdict once: asked again, it would wait for the next rung.
        """
        with self._storage.together():
            pruned = running.should_prune()
            if pruned:
                running.write_down()  # what the next run needs, should this one be killed before the rest is written
                running.trial.set_user_attr(attributes.PRUNED_AT, len(running.results))
        overdue = running.is_overdue and not running.is_trained
        if not pruned and not overdue and self._pauses(running):
            del self._running[running.number]
            self._observer.paused(running.number, running.finished_epochs)
            self._failing.let_go(running.number)
            self._ends.end_hopeless(self._promoting, is_over=False)
        elif pruned or overdue:
            del self._running[running.number]
            detail = "" if pruned else running.limit_words
            self._ends.tell(running, TrialState.PRUNED, "pruned" if pruned else "timeout", detail=detail)
            self._failing.let_go(running.number)
        else:
            self._go_on_or_leave(running)

    def _go_on_or_leave(self, running: RunningTrial) -> None:
        """Let a trial begin its next epoch, unless its executor is to go: it is parked when that has left it."""
        if self._executors.is_to_go(running.number) and not running.is_trained:
            self._failing.let_go(running.number)
        else:
            self._executors.answer(running.number, Verdict(go_on=True))

    def _pauses(self, running: RunningTrial) -> bool:
        """Whether a trial waits from now on, to go on if it turns out to be among the best."""
        with self._storage.together():
            pauses = self._promoting.pauses(running)
            if pauses:
                running.write_down()
                self._set_waiting(running)
        return pauses

    def _end_hanging(self) -> None:
        """End trials whose time is over, together with their executors: nobody knows whether these ever answer."""
        for number in self._failing.replace_hanging():
            if number in self._running:
                self._park(self._running.pop(number))
        for running in [running for running in self._running.values() if running.hangs]:
            del self._running[running.number]
            self._failing.has_left(running.number)
            self._executors.kill(running.number)
            if running.is_trained:
                self._ends.tell(running, TrialState.COMPLETE, "completed")
            else:
                self._ends.tell(
                    running, TrialState.PRUNED, "timeout", detail=f"{running.limit_words}; its executor was replaced"
                )

    def _end(self, ended: Ended) -> None:
        self._executors.finished(ended.number)
        self._failing.has_left(ended.number)
        running = self._running.pop(ended.number, None)
        if running is None:  # pruned, and told so; its last checkpoint was still being written
            self._ends.sweep()
            return
        match ended.outcome:
            case "completed":
                self._ends.tell(running, TrialState.COMPLETE, "completed")
            case "stopped":  # its executor was to go
                self._park(running)
            case "out_of_memory" | "error" if self._is_repeated(running, last_line(ended.detail)):
                self._set_waiting(running)
            case "diverged" | "out_of_memory":
                self._ends.tell(running, TrialState.PRUNED, ended.outcome, detail=ended.detail)
            case "refused" if not self._ends.standing.has_completed:
                self._running[running.number] = running
                raise UserError(ended.detail)  # what no trial can do should not use up the budget
            case "error" | "refused":
                self._ends.tell(running, TrialState.FAIL, "error", error=ended.detail)

    def _is_repeated(self, running: RunningTrial, reason: str) -> bool:
        if self._finding is not None and self._finding.takes_back(running.number):
            return True  # memory may have run out only because more executors were tried
        return self._planned is not None and self._planned.fails_for_the_first_time(running, reason)

    def _handle_death(self, died: Died) -> None:
        """An executor is gone: its trial goes on elsewhere, unless executors keep dying under it."""
        if died.number is None:
            self._failing.count_false_start(died)
            return
        running = self._running.pop(died.number, None)
        self._failing.has_left(died.number)
        if running is None:  # it was pruned a moment ago
            return
        if running.is_trained:  # only its report of that is missing
            self._ends.tell(running, TrialState.COMPLETE, "completed")
            return
        if died.out_of_memory and self._is_repeated(running, died.cause):
            self._set_waiting(running)
            return
        if died.out_of_memory:
            self._ends.tell(running, TrialState.PRUNED, "out_of_memory", detail=died.cause)
            return
        deaths = running.count_death()
        if deaths >= _MOST_DEATHS:
            reason = f"its executor died {deaths} times without finishing an epoch (last: {died.cause})"
            self._ends.tell(running, TrialState.FAIL, "error", error=reason)
            return
        self._note(f"trial {running.number}: its executor died ({died.cause}); it goes on in another")
        self._set_waiting(running)

    def _park_all(self) -> Ending:
        if self._watch.stop.asked_by is not None:
            self._observer.important(f"{self._watch.stop.asked_by} has stopped this run")
        self._executors.close(lambda: self._watch.stop.at_once)
        self._set_running_aside()
        return "interrupted" if self._watch.stop.park else "timeout"

    def _set_running_aside(self) -> None:
        for running in self._running.values():
            self._park(running)
        self._running.clear()

    def _park(self, running: RunningTrial) -> None:
        if running.has_begun:
            running.write_down()
        self._set_waiting(running)
        self._observer.parked(running.number, running.finished_epochs)

    def _set_waiting(self, running: RunningTrial) -> None:
        """Optuna's own retry would give the trial a new number, and successive halving would lose its rungs."""
        running.keep_time()
        self._storage.set_trial_state_values(trial_id(running.trial), TrialState.WAITING)

    def _take_up(self) -> None:
        """Begin with what earlier runs left behind."""
        for note in repair(self._study, self._storage, self._spec):
            self._note(note)
        self._ends.take_up()
        self._promoting.take_up()
        self._note(self._stopping.take_up())
        self._ends.sweep(half_written=True)

    def _time_is_over(self) -> bool:
        timeout = self._spec.budget.timeout
        return timeout is not None and self._elapsed.seconds >= timeout

    def _note(self, text: str | None) -> None:
        if text:
            self._observer.note(text)
