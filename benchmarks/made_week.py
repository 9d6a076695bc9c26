"""A week of a lab, simulated: 500 studies of 20 people on 8 slots, planned as the server does it, or as they came."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cifar_tune.service.scheduling import Claim, Rules, Used, decayed, plan, used_since

HOUR = 3_600.0
DAY = 24 * HOUR
_LOOK = 60.0
"""The server plans at each event, and after so many seconds without one."""

_START_SECONDS = 8.0
"""How long a slot does nothing when an executor begins on it: importing PyTorch, and reading the images."""

BUSY_WEIGHTS: Mapping[str, float] = {"busy-1": 1, "busy-2": 1, "busy-3": 1, "busy-4": 2, "busy-5": 2, "busy-6": 3}
"""People who always have work, and the weights of their shares. The others have weight 1."""

Planner = Callable[[Sequence[Claim], int, Mapping[str, Used], float], tuple[Mapping[str, int], Sequence[str]]]
"""From claims, slots, usage and the time to trials at a time, and to the studies that are favoured."""


@dataclass(slots=True)
class Work:
    """A study: `seconds` of device time are left; a trial takes `trial` seconds, an epoch `epoch`."""

    study: str
    owner: str
    submitted_at: float
    seconds: float
    trial: float
    epoch: float
    workers: int | None
    priority: int
    ready: list[float] = field(default_factory=list)  # when each of its executors begins, or began, to train
    leaving: list[float] = field(default_factory=list)  # when executors that are being parked end their epoch
    since: float | None = None
    waiting_since: float = 0.0
    kept_until: float = -math.inf
    waited: float = 0.0  # the longest time without a slot

    @property
    def held(self) -> int:
        """Executors that are not being parked."""
        return len(self.ready)

    @property
    def slots(self) -> int:
        """Slots that are taken, also by executors that are being parked."""
        return len(self.ready) + len(self.leaving)

    def claim(self) -> Claim:
        """What the planner knows of it."""
        left = math.ceil(self.seconds / self.trial)
        return Claim(
            self.study, self.owner, self.priority, self.submitted_at, self.waiting_since, self.workers, left, 1,
            self.held, self.since, self.kept_until,
        )  # fmt: skip

    def pace(self, now: float) -> int:
        """Executors that train at this time."""
        return sum(at <= now for at in self.ready) + sum(at > now for at in self.leaving)


@dataclass(slots=True)
class Course:
    """What came of it.

    Attributes:
        device_seconds: by owner.
        waits: by study, the longest time without a slot, from its submission to the end of the week.
        hungry: by owner, the longest time with something of priority 0 or above to do and no slot at all.
        lost: slot seconds in which a slot trained nothing while a study waited.
        slot_seconds: slots times seconds in which a study waited.
        finished: studies that ended.
        moves: executors that began.
        always_busy: owners who had something waiting at all times.
    """

    device_seconds: dict[str, float]
    waits: dict[str, float]
    hungry: dict[str, float]
    lost: float = 0.0
    slot_seconds: float = 0.0
    finished: int = 0
    moves: int = 0
    always_busy: set[str] = field(default_factory=set)

    def shares_off(self) -> float:
        """How far the shares of owners who always had work are from their weights at most, as a fraction."""
        owners = sorted(self.always_busy & BUSY_WEIGHTS.keys())
        total = sum(self.device_seconds[owner] for owner in owners)
        weights = sum(BUSY_WEIGHTS[owner] for owner in owners)
        return max(abs(self.device_seconds[each] / total / (BUSY_WEIGHTS[each] / weights) - 1) for each in owners)


def made_week(seed: int, studies: int = 500, days: float = 7.0) -> list[Work]:
    """Submissions in the order of time: six people submit much at the beginning, 14 others now and then.

    The studies of the first take about as long together as all slots have time; so something always waits.
    """
    rng = random.Random(seed)  # noqa: S311 (no secrets)
    found = []
    busy = list(BUSY_WEIGHTS)
    others = [f"other-{number}" for number in range(1, 15)]
    hours = days * 24 * 8
    for number in range(studies):
        is_busy = number < studies * 3 // 5
        owner = busy[number % len(busy)] if is_busy else rng.choice(others)
        mean = 1.6 * hours / (studies * 3 // 5) if is_busy else 0.3 * hours / (studies * 2 // 5)
        seconds = HOUR * max(0.05, rng.lognormvariate(math.log(mean) - 0.32, 0.8))
        trial = min(seconds, rng.uniform(120, 2_400))
        found.append(
            Work(
                f"study-{number:03}",
                owner,
                rng.uniform(0, HOUR) if is_busy else rng.uniform(0, days * DAY * 0.95),
                seconds,
                trial,
                min(trial, rng.uniform(5, 120)),
                rng.choice([None, None, 1, 2, 4, 8]),
                0 if is_busy else rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 1, -1]),
            )
        )
    return sorted(found, key=lambda work: work.submitted_at)


def planner(rules: Rules) -> Planner:
    """As the server shares slots."""

    def shared(
        claims: Sequence[Claim], slots: int, usage: Mapping[str, Used], now: float
    ) -> tuple[Mapping[str, int], Sequence[str]]:
        made = plan(claims, slots, usage, BUSY_WEIGHTS, {}, now, rules)
        return made.allotments, made.favoured

    return shared


def as_they_came(
    claims: Sequence[Claim], slots: int, _usage: Mapping[str, Used], _now: float
) -> tuple[Mapping[str, int], Sequence[str]]:
    """First come, first served: the oldest study gets as many slots as it can use, and keeps them."""
    found = {claim.study: min(claim.held, claim.most or slots) for claim in claims}
    free = slots - sum(found.values())
    for claim in sorted(claims, key=lambda each: each.age):
        more = min(free, (claim.most or slots) - found[claim.study])
        found[claim.study] += more
        free -= more
    return found, ()


def course(
    week: Sequence[Work], share: Planner, rules: Rules, slots: int = 8, days: float = 7.0, seed: int = 0
) -> Course:
    """Let a week go by."""
    return _Simulation(week, share, rules, slots, days * DAY, random.Random(seed)).run()  # noqa: S311


class _Simulation:
    def __init__(
        self, week: Sequence[Work], share: Planner, rules: Rules, slots: int, end: float, rng: random.Random
    ) -> None:
        self._to_come = list(reversed(week))
        self._share = share
        self._rules = rules
        self._slots = slots
        self._end = end
        self._rng = rng
        self._live: dict[str, Work] = {}
        owners = {work.owner for work in week}
        self._usage = {owner: Used(0.0, -math.inf) for owner in owners}
        self._hungry_since: dict[str, float | None] = dict.fromkeys(owners)
        self._course = Course(dict.fromkeys(owners, 0.0), {}, dict.fromkeys(owners, 0.0))

    def run(self) -> Course:
        now = 0.0
        while now < self._end:
            while self._to_come and self._to_come[-1].submitted_at <= now:
                work = self._to_come.pop()
                work.waiting_since = work.submitted_at
                self._live[work.study] = work
            self._move(now)
            self._note(now)
            then = min(self._end, *self._events(now))
            self._advance(now, then)
            now = then
        for work in self._live.values():
            self._waits(work, now)
        return self._course

    def _events(self, now: float) -> Iterator[float]:
        yield now + _LOOK
        if self._to_come:
            yield self._to_come[-1].submitted_at
        for work in self._live.values():
            yield from (at for at in (*work.ready, *work.leaving) if at > now)
            pace = work.pace(now)
            if pace:
                yield now + max(work.seconds / pace, 1e-3)

    def _move(self, now: float) -> None:
        """Carry out the plan: executors that are parked go at the end of their epoch, others begin where room is."""
        wanted, favoured = self._share([work.claim() for work in self._live.values()], self._slots, self._usage, now)
        free = self._slots - sum(work.slots for work in self._live.values())
        for work in self._live.values():
            while work.held > wanted.get(work.study, 0):
                began = work.ready.pop()
                if began <= now:
                    work.leaving.append(now + self._rng.uniform(0, work.epoch))
                else:
                    free += 1
        for work in sorted(self._live.values(), key=lambda each: each.submitted_at):
            more = min(free, wanted.get(work.study, 0) - work.held)
            if more > 0:
                if not work.held:
                    self._waits(work, now)
                work.ready += [now + _START_SECONDS] * more
                work.since = now
                work.kept_until = now + self._rules.favour if work.study in favoured else work.kept_until
                free -= more
                self._course.moves += more

    def _note(self, now: float) -> None:
        waiting = {work.owner for work in self._live.values() if not work.slots}
        busy = {work.owner for work in self._live.values() if work.slots}
        may_be_hungry = {work.owner for work in self._live.values() if not work.slots and work.priority >= 0}
        for owner, since in self._hungry_since.items():
            if owner in may_be_hungry and owner not in busy:
                self._hungry_since[owner] = now if since is None else since
                self._course.hungry[owner] = max(self._course.hungry[owner], now - (since or now))
            else:
                self._hungry_since[owner] = None
        if now > HOUR:
            known = self._course.always_busy
            self._course.always_busy = known & waiting if self._course.slot_seconds and known else known
        elif now:
            self._course.always_busy |= waiting

    def _advance(self, now: float, then: float) -> None:
        seconds = then - now
        training, somebody_waits = 0, any(not work.slots for work in self._live.values())
        taken = dict.fromkeys(self._usage, 0)
        for work in list(self._live.values()):
            taken[work.owner] += work.slots
            training += work.pace(now)
            self._course.device_seconds[work.owner] += work.slots * seconds
            work.seconds -= work.pace(now) * seconds
            work.leaving = [at for at in work.leaving if at > then]
            if work.seconds <= 1e-6:
                del self._live[work.study]
                self._course.finished += 1
            elif not work.held and work.since is not None:
                work.since, work.waiting_since = None, then
        if somebody_waits:
            self._course.lost += (self._slots - training) * seconds
            self._course.slot_seconds += self._slots * seconds
        for owner, used in self._usage.items():
            before = decayed(used.device_seconds, seconds, self._rules.half_life)
            last = then if taken[owner] else used.last
            self._usage[owner] = Used(before + used_since(taken[owner], seconds, self._rules.half_life), last)

    def _waits(self, work: Work, now: float) -> None:
        work.waited = max(work.waited, 0.0 if work.held else now - work.waiting_since)
        self._course.waits[work.study] = work.waited
