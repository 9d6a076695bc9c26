"""What a server asks of a run: to train on other devices, and to park.

What is asked is written down first, so that a server that takes over knows which slots may be in use. Where the write
or the wish then fails, all stays as it was.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Engine

from cifar_tune.errors import CheckError
from cifar_tune.service.running import Run, grown, shrunk
from cifar_tune.service.runs import Processes, Record
from cifar_tune.service.tables import SERVER_LEASE
from cifar_tune.storage.lease import held_lease
from cifar_tune.storage.wishes import ask_for_devices, ask_to_park


class Asking:
    """Asks runs.

    Args:
        engine: of the database.
        processes: of the runs.
        say: is given messages for people.
    """

    def __init__(self, engine: Engine, processes: Processes, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._processes = processes
        self._say = say

    def shrink(self, run: Run, wanted: int, now: float, why: str) -> None:
        """Ask a run to train fewer trials at a time; one that cannot hear yet is parked where none are wanted.

        Args:
            run: that has more devices.
            wanted: how many it keeps.
            now: seconds since the epoch.
            why: for people, should it be parked.
        """
        stay, go = shrunk(run.devices, wanted)
        is_asked = self._change(run, stay, (*run.leaving, *go), run.since)
        if is_asked:
            run.asked_at = now
        elif not wanted:  # it has not begun to train
            self.park(run, why)

    def grow(self, run: Run, wanted: int, free: Counter[str], now: float, kept_until: float) -> None:
        """Give a run more devices, as far as there is room.

        Args:
            run: that gets them.
            wanted: how many devices it should have.
            free: slots by device; what the run gets is taken from it.
            now: seconds since the epoch.
            kept_until: until then it keeps a slot.
        """
        room = free.copy()
        more = grown(run.devices, wanted, run.each, room)
        if len(more) > len(run.devices) and self._change(run, more, run.leaving, now):
            free.clear()
            free.update(room)
            run.asked_at = now
            run.kept_until = max(run.kept_until, kept_until)

    def see_that_it_hears(self, run: Run, now: float) -> None:
        """Ask again where nobody knows whether the run that is there has been asked."""
        if run.has_heard or not run.has_settled(now):
            return
        held = held_lease(self._engine, run.study)
        if held is not None and held.token == run.asked_token:
            run.has_heard = True
        elif held is not None and self._ask(run, run.devices):
            run.asked_at = now

    def park(self, run: Run, why: str) -> None:
        """Ask a run to park its trials and end, unless it was asked already. Where that fails, ask again later."""
        if run.is_parking:
            return
        is_asked = self._processes.ask_to_end(run.number)
        with suppress(CheckError):  # it begins or ends at this moment
            is_asked = is_asked or ask_to_park(self._engine, run.study, SERVER_LEASE) is not None
        if is_asked:
            run.is_parking = True
            self._say(f"{run.study} is being parked: {why}")

    def keep(self, run: Run) -> None:
        """Write down what is known of a run, for the next server."""
        record = self._processes.read(run.number) or Record(run.devices, run.since, run.epochs)
        now = replace(record, devices=run.devices, leaving=run.leaving, since=run.since, kept_until=run.kept_until)
        if now != record:
            self._processes.write(run.number, now)

    def _change(self, run: Run, devices: tuple[str, ...], leaving: tuple[str, ...], since: float) -> bool:
        before = run.devices, run.leaving, run.since
        run.devices, run.leaving, run.since = devices, leaving, since
        is_asked = False
        try:
            self.keep(run)
            is_asked = self._ask(run, devices)
        finally:
            if not is_asked:
                run.devices, run.leaving, run.since = before
        if not is_asked:
            self.keep(run)
        return is_asked

    def _ask(self, run: Run, devices: Sequence[str]) -> bool:
        held = None
        run.asked_token, run.has_heard = "", False  # as long as nobody knows
        with suppress(CheckError):  # it begins or ends at this moment
            held = ask_for_devices(self._engine, run.study, devices, SERVER_LEASE)
        if held is not None:
            run.asked_token = held.token
        return held is not None
