"""Who gets which slots: a pure function of what is asked for, what is held and what was used.

The rules, in this order:

1. A study that has just begun keeps its slots for a minimum time, else nothing would ever get done.
2. An owner who has waited for very long without any slot gets one for a while.
3. Higher priority first.
4. Fair share: among studies of one priority, the owner who has used the least device time per weight comes first. This
   is the order of Slurm's Fair Tree with a single level (https://slurm.schedmd.com/fair_tree.html: shares divided by
   usage, the largest first), and usage decays with a half-life, as Slurm's `PriorityDecayHalfLife` and Kueue's
   `usageHalfLifeTime` have it. Other than theirs, our studies grow and shrink while they run. So slots are given out
   one by one, and each one counts at once as if it had been used for some time.
5. Among the studies of one owner, those that run, then the oldest.
6. Backfill: what the first in the order cannot use goes to the next ones.

Whoever holds a slot keeps it until another owner is behind by a margin: Kueue's fair sharing also preempts only where
the shares are closer together afterwards (https://kueue.sigs.k8s.io/docs/concepts/preemption). So nothing flaps.
"""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rules:
    """The figures that the rules need.

    Attributes:
        half_life: seconds after which half of a used device second is forgotten.
        ahead: seconds that a slot counts as used when it is given. The larger, the sooner owners share; the smaller,
            the more exactly their shares keep to the weights.
        margin: device seconds per weight that another owner must be behind to take over a slot.
        min_run: seconds for which a study keeps its slots once it has begun or grown.
        patience: seconds that an owner waits without any slot at most, if others give theirs up in time.
        favour: seconds for which the study then keeps its slot.
    """

    half_life: float = 43_200.0
    ahead: float = 1_800.0
    margin: float = 300.0
    min_run: float = 60.0
    patience: float = 21_600.0
    favour: float = 1_800.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A study that wants to run, or runs.

    Attributes:
        study: its name.
        owner: whose usage it adds to.
        priority: higher ones come first.
        submitted_at: seconds since the epoch.
        waiting_since: when it was submitted, or last stopped running; seconds since the epoch.
        workers: trials at a time at most; None for as many as there is room for.
        trials_left: trials that are still to be run; None where that is not known.
        each: slots that one trial takes.
        held: trials at a time that it has slots for now.
        since: when it began to run, or last got more slots; seconds since the epoch. None while it does not run.
        kept_until: this long it keeps a slot, since a plan has favoured it; seconds since the epoch.
    """

    study: str
    owner: str
    priority: int = 0
    submitted_at: float = 0.0
    waiting_since: float = 0.0
    workers: int | None = None
    trials_left: int | None = None
    each: int = 1
    held: int = 0
    since: float | None = None
    kept_until: float = -math.inf

    @property
    def most(self) -> int | None:
        """Trials at a time that are of use to it: at least one, since a study without any left has yet to end."""
        limits = [limit for limit in (self.workers, self.trials_left) if limit is not None]
        return max(1, min(limits)) if limits else None

    @property
    def age(self) -> tuple[float, str]:
        """The oldest study comes first; the name tells studies of the same instant apart."""
        return self.submitted_at, self.study


@dataclass(frozen=True, slots=True)
class Plan:
    """Who gets what.

    Attributes:
        allotments: trials at a time by study, of those that get at least one.
        preempted: studies that lose slots to others, and how many trials they then run at a time.
        favoured: studies that get a slot since their owner has had none for very long.
        waiting: the studies that get nothing, in the order in which they come next.
        free: slots that nobody can use.
    """

    allotments: Mapping[str, int]
    preempted: Mapping[str, int]
    favoured: tuple[str, ...]
    waiting: tuple[str, ...]
    free: int

    @property
    def positions(self) -> dict[str, int]:
        """The place of each waiting study in the queue, from 1."""
        return {study: place for place, study in enumerate(self.waiting, 1)}


@dataclass(frozen=True, slots=True)
class Used:
    """What an owner has used.

    Attributes:
        device_seconds: that count, decayed up to now.
        last: when they had a slot for the last time, in seconds since the epoch.
    """

    device_seconds: float
    last: float


NOTHING = Used(0.0, -math.inf)
"""Of an owner who has never had a slot."""


def decayed(usage: float, seconds: float, half_life: float) -> float:
    """What counts of this many device seconds after some time."""
    return usage * math.exp2(-seconds / half_life)


def used_since(slots: int, seconds: float, half_life: float) -> float:
    """Device seconds that slots have added up to, if they were held until now for this many seconds.

    Earlier seconds count less, as `decayed` has it.
    """
    mean_life = half_life / math.log(2)
    return slots * mean_life * -math.expm1(-seconds / mean_life)


def plan(
    claims: Sequence[Claim],
    slots: int,
    usage: Mapping[str, Used],
    weights: Mapping[str, float],
    quotas: Mapping[str, int],
    now: float,
    rules: Rules | None = None,
) -> Plan:
    """Share the slots.

    Args:
        claims: the studies that want to run, or run; in any order.
        slots: how many there are.
        usage: by owner; others have used nothing.
        weights: by owner, above 0; 1 for others.
        quotas: by owner, slots at most; others have no limit.
        now: seconds since the epoch.
        rules: the figures.
    """
    sharing = _Sharing(claims, slots, usage, weights, quotas, now, rules or Rules())
    sharing.keep_what_has_just_begun()
    favoured = list(sharing.favour_the_hungry())
    sharing.share_the_rest()
    allotments = {study: count for study, count in sharing.given.items() if count}
    lost = {
        claim.study: sharing.given[claim.study]
        for claim in claims
        if sharing.given[claim.study] < min(claim.held, sharing.limit(claim))
    }
    return Plan(allotments, lost, tuple(favoured), tuple(sharing.waiting()), sharing.free)


@dataclass(slots=True)
class _Queue:
    """The claims of one owner in their order: the parts that are held, then those that are not, by urgency."""

    items: list[tuple[int, bool, tuple[float, str], Claim]] = field(default_factory=list)
    first: int = 0

    @property
    def head(self) -> tuple[int, bool, tuple[float, str], Claim] | None:
        return self.items[self.first] if self.first < len(self.items) else None


class _Sharing:
    def __init__(
        self,
        claims: Sequence[Claim],
        slots: int,
        usage: Mapping[str, Used],
        weights: Mapping[str, float],
        quotas: Mapping[str, int],
        now: float,
        rules: Rules,
    ) -> None:
        self._claims = sorted(claims, key=lambda claim: claim.age)
        self._slots = slots
        self._usage = usage
        self._weights = weights
        self._quotas = quotas
        self._now = now
        self._rules = rules
        self.free = slots
        self.given = {claim.study: 0 for claim in claims}
        self._taken = {claim.owner: 0 for claim in claims}

    def limit(self, claim: Claim) -> int:
        """Trials at a time that the study can run if nobody else wants a slot."""
        room = min(self._slots, self._quotas.get(claim.owner, self._slots)) // claim.each
        return room if claim.most is None else min(room, claim.most)

    def keep_what_has_just_begun(self) -> None:
        for claim in self._claims:
            has_begun = claim.since is not None and self._now - claim.since < self._rules.min_run
            kept = claim.held if has_begun else 1 if claim.held and self._now < claim.kept_until else 0
            for _ in range(min(kept, self.limit(claim))):
                if self._fits(claim):
                    self._give(claim)

    def favour_the_hungry(self) -> Iterator[str]:
        """Give one slot to each owner who has waited for very long without any; to whoever waits longest first."""
        since: dict[str, float] = {}
        for claim in self._claims:
            since[claim.owner] = min(claim.waiting_since, since.get(claim.owner, math.inf))
        for claim in self._claims:
            last = self._now if claim.held else self._usage.get(claim.owner, NOTHING).last
            since[claim.owner] = max(since[claim.owner], last)
        hungry = [owner for owner, at in since.items() if self._now - at >= self._rules.patience]
        for owner in sorted(hungry, key=lambda each: (since[each], each)):
            of_owner = [claim for claim in self._claims if claim.owner == owner and self.limit(claim)]
            for claim in sorted(of_owner, key=lambda each: (each.waiting_since, each.age)):
                if self._fits(claim):
                    self._give(claim)
                    yield claim.study
                    break

    def share_the_rest(self) -> None:
        queues = self._queues()
        heap = [(self._key(owner, queue), owner) for owner, queue in queues.items()]
        heapq.heapify(heap)
        while heap and self.free > 0:
            _, owner = heapq.heappop(heap)
            queue = queues[owner]
            if queue.head is None:
                continue
            _, is_growth, _, claim = queue.head
            up_to = self.limit(claim) if is_growth else min(claim.held, self.limit(claim))
            if self.given[claim.study] < up_to and self._fits(claim):
                self._give(claim)
            else:  # it has what it can use, or what is left is too little for it, and will only get less
                queue.first += 1
            if queue.head is not None:
                heapq.heappush(heap, (self._key(owner, queue), owner))

    def waiting(self) -> Iterator[str]:
        """Those without a slot, in the order in which they would get their first one if there were more."""
        queues: dict[str, _Queue] = {}
        for claim in self._claims:
            if not self.given[claim.study]:
                item = (-claim.priority, True, claim.age, claim)
                queues.setdefault(claim.owner, _Queue()).items.append(item)
        for queue in queues.values():
            queue.items.sort(key=lambda item: item[:3])
        heap = [(self._key(owner, queue), owner) for owner, queue in queues.items()]
        heapq.heapify(heap)
        while heap:
            _, owner = heapq.heappop(heap)
            queue = queues[owner]
            if queue.head is None:
                continue
            claim = queue.head[3]
            yield claim.study
            self._taken[owner] += claim.each
            queue.first += 1
            if queue.head is not None:
                heapq.heappush(heap, (self._key(owner, queue), owner))

    def _queues(self) -> dict[str, _Queue]:
        queues: dict[str, _Queue] = {}
        for claim in self._claims:
            queue = queues.setdefault(claim.owner, _Queue())
            for is_growth in (False, True):
                queue.items.append((-claim.priority, is_growth, claim.age, claim))
        for queue in queues.values():
            queue.items.sort(key=lambda item: item[:3])
        return queues

    def _key(self, owner: str, queue: _Queue) -> tuple[float, float, tuple[float, str]]:
        """What the owner's next slot costs: the least comes first."""
        if queue.head is None:
            return math.inf, math.inf, (math.inf, owner)
        urgency, is_growth, age, _ = queue.head
        used = self._usage.get(owner, NOTHING).device_seconds + self._taken[owner] * self._rules.ahead
        return urgency, used / self._weights.get(owner, 1.0) - (0.0 if is_growth else self._rules.margin), age

    def _fits(self, claim: Claim) -> bool:
        quota = self._quotas.get(claim.owner, self._slots)
        return claim.each <= self.free and self._taken[claim.owner] + claim.each <= quota

    def _give(self, claim: Claim) -> None:
        self.given[claim.study] += 1
        self.free -= claim.each
        self._taken[claim.owner] += claim.each
