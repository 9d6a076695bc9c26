"""The server's loop: it begins and parks runs as `scheduling.plan` says, and handles those that die.

Everything that it must know after it was killed stands in the database, or in the files of `runs`. So a run goes on
without a server, and the next server finds it again.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from cifar_tune.errors import UserError
from cifar_tune.service import owners, submissions
from cifar_tune.service.asking import Asking
from cifar_tune.service.beginning import Beginning
from cifar_tune.service.cluster_slots import ClusterGoneError
from cifar_tune.service.deaths import Deaths
from cifar_tune.service.progress import Progress, progress_of
from cifar_tune.service.reasons import Facts, reasons, waits_for
from cifar_tune.service.running import Run, busy, free_slots, grown, slots_in_use
from cifar_tune.service.runs import Command, Processes, coordinating, environment_of_runs
from cifar_tune.service.scheduling import Claim, Plan, Rules, plan
from cifar_tune.service.slots import most_at_once, slots_of_a_trial
from cifar_tune.service.submissions import LATER, LIVING, Submission
from cifar_tune.service.usage import BusySlots, Usage
from cifar_tune.storage.lease import Lease, LeaseLostError, owner_of

_LOOK_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0
_SHARE_OF_A_CORE = 0.05
"""Where a look takes long, since a thousand studies wait, there are fewer: the cores are for training."""

_WRITE_SECONDS = 10.0
_PARK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server works.

    Attributes:
        slots: the device of each slot; see `slots.find_slots`.
        rules: of sharing them.
        command: runs a submission.
        renewed: the slots as they are now, where they change, as those of a cluster; raises `ClusterGoneError`.
    """

    slots: tuple[str, ...]
    rules: Rules = field(default_factory=Rules)
    command: Command = coordinating
    renewed: Callable[[], tuple[str, ...]] | None = None


class Supervisor:
    """One server. Let it `look` again and again.

    Args:
        engine: of the database, which has the tables of the service.
        url: of the database.
        lease: see `one_server.server_lease`.
        settings: how it works.
        say: is given messages for people.
    """

    def __init__(self, engine: Engine, url: URL, lease: Lease, settings: Settings, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._lease = lease
        self._settings = settings
        self._slots = settings.slots
        self._say = say
        self._processes = Processes()
        self._deaths = Deaths(engine, self._processes, say)
        self._beginning = Beginning(engine, self._processes, settings.command, environment_of_runs(url), say)
        self._asking = Asking(engine, self._processes, say)
        self._runs: dict[int, Run] = {}
        self._strays = self._processes.known()
        self._each: dict[int, tuple[int, int | None]] = {}
        self._resting: dict[str, Progress] = {}
        self._usage = Usage(engine, settings.rules.half_life)
        self._busy = BusySlots(engine)
        self._written = time.time()
        self._looked = time.time()
        self._trouble = ""
        self._is_ending = False

    def run(self, is_over: Callable[[], bool], at_once: Callable[[], bool] = lambda: False) -> None:
        """Look until `is_over` says so; then park everything, wait for that unless `at_once` says not to, and end.

        Raises:
            LeaseLostError: another server has taken over, since this one was not heard of for a minute.
        """
        while not is_over():
            before = time.thread_time()
            self.look_patiently()
            took = time.thread_time() - before
            time.sleep(min(_LONGEST_PAUSE_SECONDS, max(_LOOK_SECONDS, took / _SHARE_OF_A_CORE)))
        self.end(at_once)

    def look_patiently(self) -> None:
        """Look; while the database is away or a disk is full, nothing is begun, and the runs go on by themselves."""
        try:
            self.look()
        except (OperationalError, InterfaceError) as error:
            self._set_trouble("the database does not answer", error)
        except ClusterGoneError as error:
            self._set_trouble("the Ray cluster does not answer", error)
        except OSError as error:  # such as a full disk
            self._set_trouble("the server's own files cannot be written", error)
        else:
            if self._trouble:
                self._say(f"over: {self._trouble}")
            self._trouble = ""

    def _set_trouble(self, words: str, error: Exception) -> None:
        if self._trouble != words:
            self._trouble = words
            self._say(f"{words}; runs go on, and nothing is begun: {_first_line(error)}")

    def look(self) -> None:
        """See how everything stands, plan, and carry the plan out as far as that goes now.

        Raises:
            SQLAlchemyError: the database cannot be used; the next look goes on from there.
        """
        try:
            self._lease.renew_if_due()
        except LeaseLostError as error:
            raise LeaseLostError(
                "another server serves this storage, since this one was not heard of for a minute; it goes on with all "
                "runs, and this one ends"
            ) from error
        now = time.time()
        with self._engine.connect() as connection:
            living = submissions.select_submissions(connection, LIVING)
            limits = owners.read_owners(connection)
        by_number = {each.id: each for each in living}
        running = {each.id: each for each in living if each.state == "running"}
        self._find_again(list(running.values()), now)
        progress = self._progress(living)
        self._handle_ended(running, progress, now)
        self._deaths.forget_overcome(running, self._runs, progress)
        for run in self._runs.values():
            self._asking.see_that_it_hears(run, now)
            if run.settle(progress.get(run.study, Progress()).running, now):
                self._asking.keep(run)
        self._count(now)
        if not self._is_ending:
            self._park_unwanted(by_number, now)
            if self._settings.renewed is not None:
                self._slots = self._settings.renewed()
            self._share(living, limits, progress, now)
        self._busy.write(busy(study for _, study in self.slots), now)
        self._looked = now

    def end(self, at_once: Callable[[], bool] = lambda: False) -> None:
        """Park all runs, wait until they have ended, and release the lease."""
        self._is_ending = True
        deadline = time.monotonic() + _PARK_SECONDS
        while self._runs and time.monotonic() < deadline and not at_once():
            for run in self._runs.values():
                with suppress(SQLAlchemyError):  # of a run that hears wishes only; the others are asked all the same
                    self._asking.park(run, "the server stops")
            self.look_patiently()
            if self._runs:
                time.sleep(0.1)
        for run in self._runs.values():
            self._say(f"{run.study} is still being parked, which it does by itself")
        with suppress(OperationalError, InterfaceError):  # the database is away
            self._write_usage()
        self._lease.release_or_leave()

    @property
    def slots(self) -> list[tuple[str, str | None]]:
        """Each slot's device, and the study that holds it; None where it is free."""
        return slots_in_use(self._slots, list(self._runs.values()))

    @property
    def looked_at(self) -> float:
        """When everything was seen to for the last time; seconds since the epoch."""
        return self._looked

    def standing(self) -> str:
        """`ok`, or what is wrong, for whoever watches the server."""
        if self._trouble:
            return self._trouble
        behind = time.time() - self._looked
        return "ok" if behind < 60 else f"the loop has not completed for {behind:.0f} s"

    def _find_again(self, running: Sequence[Submission], now: float) -> None:
        """Take over runs that another server has begun."""
        for each in running:
            if each.id in self._runs or not (record := self._processes.read(each.id)):
                continue
            if not self._processes.lives(each.id):
                continue
            wished = record.devices
            self._runs[each.id] = Run(
                each.id, each.study, each.owner, self._needs(each)[0], wished, record.since, record.epochs,
                max(record.since, min(now, self._usage.last(each.owner))), record.leaving, asked_at=now,
                has_heard=False, kept_until=record.kept_until,
            )  # fmt: skip
            self._say(f"{each.study} still runs on {', '.join(wished) or 'no device'}")

    def _handle_ended(self, running: Mapping[int, Submission], progress: Mapping[str, Progress], now: float) -> None:
        """Let go of runs that have ended, and write the end of those that could not do so themselves."""
        for number in {*self._runs, *running, *self._strays}:
            if self._processes.lives(number):
                continue
            submission = running.get(number)
            run = self._runs.get(number)
            if submission is not None and not self._deaths.record(submission, run, progress):
                continue
            if self._processes.exit_code(number) == LATER:
                self._beginning.put_off(number, now)
            if run is not None:
                self._usage.add(run.owner, number, len(run.held) * run.each, run.counted, now)
                self._say(f"the run of {run.study} has ended")
                del self._runs[number]
            self._processes.forget(number)
            self._strays.discard(number)

    def _count(self, now: float) -> None:
        for run in self._runs.values():
            self._usage.add(run.owner, run.number, len(run.held) * run.each, run.counted, now)
            run.counted = now
        if now - self._written >= _WRITE_SECONDS:
            self._write_usage()

    def _write_usage(self) -> None:
        self._usage.write()
        self._written = time.time()

    def _park_unwanted(self, living: Mapping[int, Submission], now: float) -> None:
        """Let runs that somebody wants paused or cancelled give up their slots; then they are parked."""
        for run in self._runs.values():
            submission = living.get(run.number)
            if submission is not None and submission.wanted != "run" and run.devices and not run.is_parking:
                self._asking.shrink(run, 0, now, f"{submission.wanted} was asked for")

    def _share(
        self,
        living: Sequence[Submission],
        limits: list[owners.Owner],
        progress: Mapping[str, Progress],
        now: float,
    ) -> None:
        """Plan, and carry the plan out as far as slots are free."""
        wanted = [each for each in living if each.wanted == "run" and (each.state == "queued" or each.id in self._runs)]
        claims = [self._claim(each, progress) for each in wanted]
        by_owner = {name: owners.with_defaults(limits, name) for name in {claim.owner for claim in claims}}
        weights = {name: owner.weight or 1.0 for name, owner in by_owner.items()}
        quotas = {name: owner.slots for name, owner in by_owner.items() if owner.slots is not None}
        usage = self._usage.lately(now)
        rules = self._settings.rules
        facts = Facts(claims, len(self._slots), usage, weights, quotas, rules, now)
        made = plan(claims, facts.slots, usage, weights, quotas, now, rules)
        for each in wanted:
            run = self._runs.get(each.id)
            if run is not None and not run.is_parking and made.allotments.get(each.study, 0) < len(run.devices):
                self._asking.shrink(run, made.allotments.get(each.study, 0), now, "others come first")
        unwanted = {each.id: f"{each.wanted} was asked for" for each in living if each.wanted != "run"}
        for run in self._runs.values():
            if run.has_drained(progress.get(run.study, Progress()).running) and run.study not in made.allotments:
                self._asking.park(run, unwanted.get(run.number, "it has given up all of its slots"))
        self._tell(wanted, made, {**reasons(made, facts), **self._give(wanted, made, progress, now)})

    def _give(
        self, wanted: Sequence[Submission], made: Plan, progress: Mapping[str, Progress], now: float
    ) -> dict[str, str]:
        """Begin and grow what gets slots, as far as they are free; returns why others of them cannot begin yet."""
        free = free_slots(self._slots, self._runs.values())
        going = sorted(run.study for run in self._runs.values() if run.leaving or run.is_parking)
        waits = {}
        for each in sorted(wanted, key=lambda each: (-each.priority, each.submitted_at)):
            count = made.allotments.get(each.study, 0)
            run = self._runs.get(each.id)
            kept_until = now + self._settings.rules.favour if each.study in made.favoured else 0.0
            if run is not None:
                if count > len(run.devices) and not run.is_parking:
                    self._asking.grow(run, count, free, now, kept_until)
            elif count and each.state == "queued":
                other = owner_of(self._engine, each.study)
                if why := self._beginning.why_not_yet(each, now):
                    waits[each.study] = why
                elif other is not None:
                    waits[each.study] = f"{other} runs it already; it starts here when that has ended"
                elif not self._start(each, count, free, now, kept_until, progress) and going:
                    waits[each.study] = waits_for(going)
        return waits

    def _claim(self, each: Submission, progress: Mapping[str, Progress]) -> Claim:
        run = self._runs.get(each.id)
        runs = run is not None and not run.is_parking
        slots, most = self._needs(each)
        return Claim(
            each.study,
            each.owner,
            each.priority,
            each.submitted_at,
            each.waiting_since,
            min((limit for limit in (each.workers, most) if limit is not None), default=None),
            max(0, each.trials - progress.get(each.study, Progress()).ended),
            slots,
            len(run.devices) if run is not None and runs else 0,
            run.since if run is not None and runs else None,
            run.kept_until if run is not None else 0.0,
        )

    def _progress(self, living: Sequence[Submission]) -> Mapping[str, Progress]:
        """How far each study is. One that waits does not change, so it is looked up once."""
        running = {run.study for run in self._runs.values()}
        running |= {each.study for each in living if each.state == "running"}
        waiting = {each.study for each in living if each.state == "queued"} - running
        self._resting = {study: found for study, found in self._resting.items() if study in waiting}
        with self._engine.connect() as connection:
            found = progress_of(connection, running | (waiting - self._resting.keys()))
        self._resting |= {study: found.get(study, Progress()) for study in waiting - self._resting.keys()}
        return {**self._resting, **found}

    def _start(
        self,
        each: Submission,
        wanted: int,
        free: Counter[str],
        now: float,
        kept_until: float,
        progress: Mapping[str, Progress],
    ) -> bool:
        """Begin a run if there is room; returns whether it has begun, or cannot begin at all."""
        slots, _ = self._needs(each)
        if self._processes.lives(each.id):  # an earlier process is about to end
            return False
        devices = grown((), wanted, slots, free)
        if not devices:
            return False
        epochs = progress.get(each.study, Progress()).epochs
        run = self._beginning.begin(each, devices, slots, epochs, kept_until, now)
        if run is not None:
            self._runs[each.id] = run
        return True

    def _tell(self, wanted: Sequence[Submission], made: Plan, said: Mapping[str, str]) -> None:
        """Write why each study waits, where that has changed, and its place."""
        queued = {each.study: each for each in wanted if each.state == "queued" and each.id not in self._runs}
        next_ones = [study for study in queued if study in made.allotments]
        places = {study: place for place, study in enumerate([*next_ones, *made.waiting], 1)}
        changes = {
            each.id: (said.get(study), places.get(study))
            for study, each in queued.items()
            if (said.get(study), places.get(study)) != (each.waits, each.position)
        }
        if changes:
            with self._engine.begin() as connection:
                for number, (waits, position) in changes.items():
                    submissions.tell(connection, number, waits, position)

    def _needs(self, each: Submission) -> tuple[int, int | None]:
        """Slots that one trial takes, and trials at a time at most; remembered, since the text never changes."""
        if each.id not in self._each:
            if not self._slots:  # of a cluster that has no machines yet
                return 1, None
            try:
                self._each[each.id] = slots_of_a_trial(each.text, self._slots), most_at_once(each.text)
            except UserError:  # an older version has taken it; the run says what is wrong with it
                self._each[each.id] = 1, None
        return self._each[each.id]


def _first_line(error: Exception) -> str:
    return str(error.__cause__ or error).splitlines()[0]
