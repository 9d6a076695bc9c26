"""The runs of a server: which devices each one holds, and which it has been asked to give up."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SETTLED_SECONDS = 3.0
"""A run looks for wishes each second, and its trials are written a moment later."""


@dataclass(slots=True)
class Run:
    """The process that runs a submission.

    Attributes:
        number: of the submission.
        study: its name.
        owner: who has submitted it.
        each: slots that one trial takes.
        devices: that it is to train on, one for each trial at a time.
        since: when it began, or got its last slot; seconds since the epoch.
        epochs: how many epochs and trials of the study had ended when it began.
        counted: up to when its device seconds are counted; seconds since the epoch.
        leaving: devices that it was asked to give up, and may still use.
        asked_at: when it was asked for other devices the last time.
        asked_token: of the lease that this was asked of; empty if it was not asked.
        has_heard: whether that lease was still held a moment later. What an earlier server asked for is asked again.
        kept_until: for this long it keeps a slot, since a plan has favoured it.
        is_parking: whether it was asked to park its trials and end.
    """

    number: int
    study: str
    owner: str
    each: int
    devices: tuple[str, ...]
    since: float
    epochs: int
    counted: float
    leaving: tuple[str, ...] = ()
    asked_at: float = 0.0
    asked_token: str = ""
    has_heard: bool = True
    kept_until: float = 0.0
    is_parking: bool = False

    @property
    def held(self) -> tuple[str, ...]:
        """All devices that it may use at this moment."""
        return (*self.devices, *self.leaving)

    def has_settled(self, now: float) -> bool:
        """Whether it has had the time to hear what it was asked last."""
        return now - self.asked_at >= _SETTLED_SECONDS

    def settle(self, running: int, now: float) -> bool:
        """Take note that it has given up what it was asked to, once no more trials run than it has devices.

        Returns:
            Whether it has done so at this moment.
        """
        settles = bool(self.leaving) and self.has_heard and self.has_settled(now) and running <= len(self.devices)
        if settles:
            self.leaving = ()
        return settles

    def has_drained(self, running: int) -> bool:
        """Whether it was asked to give up all, and has done so."""
        return not self.devices and not self.leaving and running == 0


def free_slots(slots: Sequence[str], runs: Iterable[Run]) -> Counter[str]:
    """How many slots of each device no run holds; below 0 where a device has fewer slots than it had before."""
    free = Counter(slots)
    for run in runs:
        for device in run.held:
            free[device] -= run.each
    return free


def grown(held: Sequence[str], wanted: int, each: int, free: Counter[str]) -> tuple[str, ...]:
    """The devices with as many more of the freest ones as there is room for, up to `wanted`; takes them from `free`."""
    found = list(held)
    while len(found) < wanted:
        room = [device for device in free if free[device] >= each]
        if not room:
            break
        best = max(room, key=lambda device: (free[device], device))
        free[best] -= each
        found.append(best)
    return tuple(found)


def shrunk(held: Sequence[str], wanted: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The devices that stay, and those that go: the most crowded ones first."""
    stay, go = list(held), []
    while len(stay) > wanted:
        crowd = Counter(stay)
        worst = max(range(len(stay)), key=lambda place: (crowd[stay[place]], place))
        go.append(stay.pop(worst))
    return tuple(stay), tuple(go)


def busy(holders: Iterable[str | None]) -> int:
    """How many slots are busy: those that a study holds, whether its trial runs, begins or is being parked.

    Args:
        holders: of each slot, the study; None where nobody does.
    """
    return sum(study is not None for study in holders)


def slots_in_use(slots: Sequence[str], runs: Iterable[Run]) -> list[tuple[str, str | None]]:
    """Each slot's device, and the study that holds it; None where nobody does."""
    holders: dict[str, list[str]] = {}
    for run in sorted(runs, key=lambda each: each.number):
        for device in run.held:
            holders.setdefault(device, []).extend([run.study] * run.each)
    found: list[tuple[str, str | None]] = []
    for device in slots:
        of_device = holders.get(device, [])
        found.append((device, of_device.pop(0) if of_device else None))
    return found
