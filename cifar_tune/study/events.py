"""What a coordinator tells those who watch it, and how they ask it to stop or to train on other devices.

The first request to stop parks what is running, the second ends at once. The end of a trial is announced when the
database has it; so is a database that goes away or comes back.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cifar_tune.errors import CheckError
from cifar_tune.storage.patience import away, back
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.training.results import EpochResult


@dataclass(frozen=True, slots=True)
class TrialEnd:
    """How a trial ended: its state and reason (`attributes.REASONS`), the first objective and the best one so far.

    `figures` are all objectives and constrained metrics by name, `feasible` says whether it keeps the constraints, and
    `front` holds the numbers of the trials on the Pareto front of several objectives; `elapsed` are the seconds of
    `budget.timeout` that were used up. With `repeats`, `mean_of` are the trials whose mean is the best value.
    `finished` trials have ended, of the `most` that there can be.
    """

    number: int
    state: str
    reason: str
    value: float | None
    best_number: int | None
    best_value: float | None
    finished: int
    most: int
    figures: Mapping[str, float] = field(default_factory=dict)
    feasible: bool = True
    front: Sequence[int] = ()
    detail: str = ""
    elapsed: float = 0.0
    mean_of: Sequence[int] = ()


class Observer:
    """Receives what happens, in order. Every method does nothing until it is overridden."""

    def note(self, text: str) -> None:
        """Something worth knowing, as a sentence."""

    def important(self, text: str) -> None:
        """What should be known also by those who want no progress: what was changed, or weighs on the result."""
        self.note(text)

    def decoding(self, done: int, total: int) -> None:
        """`done` images of the data set are decoded."""

    def began(self, number: int, params: Mapping[str, object], epochs: int, resumed: int) -> None:
        """A trial begins, or goes on after `resumed` finished epochs."""

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        """A trial finished an epoch; `value` is the objective."""

    def ended(self, end: TrialEnd) -> None:
        """A trial ended."""

    def parked(self, number: int, epochs: int) -> None:
        """A trial was set aside after this many finished epochs; the next run goes on with it."""

    def paused(self, number: int, epochs: int) -> None:
        """A trial waits after this many finished epochs, and goes on if it turns out to be among the best."""


class ShieldedObserver(Observer):
    """Passes everything on to another observer, whose errors never reach the study: training is worth more.

    The first error is told, by that observer itself, as far as it still can.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._has_failed = False

    def note(self, text: str) -> None:
        """Pass it on."""
        self._tell(lambda: self._observer.note(text))

    def important(self, text: str) -> None:
        """Pass it on."""
        self._tell(lambda: self._observer.important(text))

    def decoding(self, done: int, total: int) -> None:
        """Pass it on."""
        self._tell(lambda: self._observer.decoding(done, total))

    def began(self, number: int, params: Mapping[str, object], epochs: int, resumed: int) -> None:
        """Pass it on."""
        self._tell(lambda: self._observer.began(number, params, epochs, resumed))

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        """Pass it on."""
        self._tell(lambda: self._observer.epoch(number, result, value))

    def ended(self, end: TrialEnd) -> None:
        """Pass it on."""
        self._tell(lambda: self._observer.ended(end))

    def parked(self, number: int, epochs: int) -> None:
        """Pass it on."""
        self._tell(lambda: self._observer.parked(number, epochs))

    def paused(self, number: int, epochs: int) -> None:
        """Pass it on."""
        self._tell(lambda: self._observer.paused(number, epochs))

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 (whatever it is, the study goes on)
            if not self._has_failed:
                self._has_failed = True
                self.note(f"progress could not be shown ({type(error).__name__}: {error}); the study goes on")


class Interrupted(Exception):  # noqa: N818 (a request, not an error)
    """The user asked to stop before anything was running."""


class StopRequests:
    """Counts the requests to stop. Whoever makes them, from any thread or a signal handler, adds 1 to `count`."""

    def __init__(self) -> None:
        self.count = 0
        self.is_polled = False
        """Whether somebody looks at the count all the time; until then the second request ends what runs at once."""
        self.asked_by: str | None = None
        """Who has asked through the database, as `cifar-tune stop` does. That alone never ends a run at once."""

    @property
    def park(self) -> bool:
        """Whether running trials are to be parked."""
        return self.count >= 1 or self.asked_by is not None

    @property
    def at_once(self) -> bool:
        """Whether not even checkpoints that are being written are worth waiting for."""
        return self.count >= 2

    def raise_if_any(self) -> None:
        """Raise `Interrupted` if a stop was requested."""
        if self.park:
            raise Interrupted


@dataclass(frozen=True, slots=True)
class WantedDevices:
    """The devices to train on, one name per executor, and who asked for them."""

    names: tuple[str, ...]
    by: str


class DeviceRequests:
    """The devices that a run was asked to train on and has not looked at yet. Any thread may ask."""

    def __init__(self) -> None:
        self._wanted: deque[WantedDevices] = deque(maxlen=1)  # the newest request stands for all

    def ask(self, wanted: WantedDevices) -> None:
        """Ask for these from now on."""
        self._wanted.append(wanted)

    def take(self) -> WantedDevices | None:
        """The newest request; None where there has been none since the last look."""
        with suppress(IndexError):
            return self._wanted.pop()
        return None


LAST_PATIENCE_SECONDS = 300.0
"""How long a run waits at its end for a database that is away."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a coordinator looks at besides its executors: who watches, who wants it to stop, and to train elsewhere."""

    observer: Observer
    stop: StopRequests
    devices: DeviceRequests = field(default_factory=DeviceRequests)


class Announcements:
    """The ends of trials that nobody has been told yet.

    Args:
        storage: the study in memory, and what of it is not written yet.
        watch: who is told.
        sweep: called after an announcement: checkpoints that nobody needs any more can go.
    """

    def __init__(self, storage: WriteBehindStorage, watch: Watch, sweep: Callable[[], None]) -> None:
        self._storage = storage
        self._watch = watch
        self._sweep = sweep
        self._unannounced: list[TrialEnd] = []
        self._outage_since: float | None = None

    def add(self, end: TrialEnd) -> None:
        """To be announced as soon as it is written."""
        self._unannounced.append(end)

    def look(self) -> None:
        """Announce the ends that stand in the database now, and say when it goes away and comes back."""
        unwritten = self._storage.unwritten()
        written = [end for end in self._unannounced if end.number not in unwritten]
        for end in written:
            self._unannounced.remove(end)
            self._watch.observer.ended(end)
        if written:
            self._sweep()
        outage = self._storage.outage
        if outage is not None and self._outage_since is None:
            self._outage_since = outage.since
            self._watch.observer.note(away(outage.words, "running trials go on, no new one begins until it is back"))
        elif outage is None and self._outage_since is not None:
            self._watch.observer.note(f"{back(self._outage_since)}; everything is written")
            self._outage_since = None

    def wait(self) -> bool:
        """Stay until all is written, unless that takes too long or somebody does not want to wait.

        Returns:
            Whether it is; if not, somebody asked to stop.

        Raises:
            CheckError: if it is not, and nobody asked to stop.
        """
        if not self._storage.flush(2.0) and self._storage.outage is None:
            self._watch.observer.note("waiting for the database")
        is_written = self._storage.flush(LAST_PATIENCE_SECONDS, lambda: self._watch.stop.at_once)
        self.look()
        if not is_written:
            words = self._storage.outage.words if self._storage.outage else "it is too slow"
            message = (
                f"the database accepts no writes ({words}), so the results of {len(self._storage.unwritten())} "
                "trials are not in it; their checkpoints hold them, and the next run writes them from there"
            )
            if not self._watch.stop.park:
                raise CheckError(message) from (self._storage.outage.error if self._storage.outage else None)
            self._watch.observer.note(message)
        return is_written
