"""Tells people how a plain `cifar-tune run` goes, where its study file names addresses (`notify`).

Of submitted studies the server tells (`telling`). A run has no server, so it tells by itself: a thread sends, and
nothing of the training waits for it. Only at the end of the run the last message is waited for, for some seconds.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Condition, Thread
from uuid import uuid4

from cifar_tune.errors import CifarTuneError
from cifar_tune.service.addresses import Message, NotToldError, tell, why_not_here
from cifar_tune.service.coordinating import end_of
from cifar_tune.service.messages import About, best_message, end_message
from cifar_tune.service.people import local_user
from cifar_tune.service.telling import BEST_SECONDS, PAUSES
from cifar_tune.study.events import Observer, ShieldedObserver, TrialEnd
from cifar_tune.study.run import Outcome
from cifar_tune.study_spec.notify import shown
from cifar_tune.study_spec.specification import StudySpec

LAST_SECONDS = 20.0
"""How long the end of a run waits for addresses that do not answer."""

_LAST_PAUSE = 3.0
_INTERRUPTED = 130


@dataclass(slots=True)
class _Letter:
    """What one address is still to be told, and why it could not be told before."""

    address: str
    message: Message
    due: float
    tries: int = 0
    why: str = ""


class RunTeller(ShieldedObserver):
    """Watches a run, and tells addresses of new bests and of the end. A run that trains nothing is not told of.

    Args:
        observer: to which all is passed on.
        spec: of the study, which names the addresses.
        secret: by which webhooks are signed; empty: they are not.
    """

    def __init__(self, observer: Observer, spec: StudySpec, secret: str) -> None:
        super().__init__(observer)
        self._spec = spec
        self._secret = secret
        self._about = About(spec.name, local_user().name)
        self._key = uuid4().hex
        self._letters: list[_Letter] = []
        self._changed = Condition()
        self._has_begun = False
        self._is_closing = False
        self._best: int | None = None
        self._has_news = False
        self._best_told = time.monotonic()
        self._thread = Thread(target=self._work, name="telling", daemon=True)
        self._thread.start()
        for address in spec.notify:
            why = why_not_here(address)
            if why is not None:
                self.note(f"note: {shown(address)} gets no message: it {why}")

    def began(self, number: int, params: Mapping[str, object], epochs: int, resumed: int) -> None:
        """Something is trained."""
        self._has_begun = True
        super().began(number, params, epochs, resumed)

    def ended(self, end: TrialEnd) -> None:
        """Tell of a new best now and then."""
        super().ended(end)
        if self._spec.has_several_objectives or end.best_number is None or end.best_value is None:
            return
        is_by_this_trial = end.number in (end.best_number, *end.mean_of)  # at first, nobody knows who was the best
        if end.best_number != self._best and (self._best is not None or is_by_this_trial):
            self._has_news = True
        self._best = end.best_number
        if self._has_news and time.monotonic() - self._best_told >= BEST_SECONDS:
            self._has_news, self._best_told = False, time.monotonic()
            key, metric = f"{self._key}-best-{end.best_number}", self._spec.objective.metric
            self._write(best_message(key, self._about, metric, end.best_value, end.best_number))

    def finish(self, exit_code: int, message: str) -> list[str]:
        """Tell how the run has ended, unless it was interrupted, and wait for that.

        Returns:
            Sentences about addresses that were not told.
        """
        if self._has_begun and exit_code != _INTERRUPTED:
            state = "done" if exit_code == 0 else "failed"
            ended = replace(self._about, exit_code=exit_code, message=message)
            self._write(end_message(f"{self._key}-end", ended, state))
        with self._changed:
            now = time.monotonic()
            self._letters = [] if exit_code == _INTERRUPTED else self._letters
            for letter in self._letters:
                letter.due = min(letter.due, now)
            self._is_closing = True
            self._changed.notify()
        self._thread.join(0.0 if exit_code == _INTERRUPTED else LAST_SECONDS)
        with self._changed:
            left = {each.address: each.why or "it does not answer in time" for each in self._letters}
        return [f"{shown(address)} got no message on how the run went: {why}" for address, why in left.items()]

    def _write(self, told: Message) -> None:
        with self._changed:
            now = time.monotonic()
            self._letters += [_Letter(each, told, now) for each in self._spec.notify if why_not_here(each) is None]
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._is_closing and not self._letters:
                    return
                first = min(self._letters, key=lambda each: each.due, default=None)
                wait = None if first is None else first.due - time.monotonic()
                if first is None or (wait is not None and wait > 0):
                    self._changed.wait(wait)
                    continue
            self._send(first)

    def _send(self, letter: _Letter) -> None:
        try:
            tell(letter.address, letter.message, self._secret, time.time())
        except NotToldError as error:
            with self._changed:
                letter.why = str(error)
                letter.tries += 1
                pause = _LAST_PAUSE if self._is_closing else PAUSES[min(letter.tries, len(PAUSES)) - 1]
                letter.due = time.monotonic() + pause
            return
        with self._changed:
            if letter in self._letters:
                self._letters.remove(letter)


@contextmanager
def telling_of_run(spec: StudySpec, observer: Observer, secret: str) -> Iterator[tuple[Observer, list[Outcome]]]:
    """Tell the addresses of a study, if it names any, how a run inside the block goes.

    Args:
        spec: of the study.
        observer: of the run.
        secret: by which webhooks are signed; empty: they are not.

    Yields:
        The observer to use instead, and a list to put the outcome into.
    """
    outcomes: list[Outcome] = []
    if not spec.notify:
        yield observer, outcomes
        return
    teller = RunTeller(observer, spec, secret)
    exit_code, message = _INTERRUPTED, ""
    try:
        yield teller, outcomes
        end = end_of(outcomes[-1], spec)
        exit_code, message = end.exit_code, end.message
    except CifarTuneError as error:
        exit_code, message = error.exit_code, str(error)
        raise
    except Exception as error:
        exit_code, message = CifarTuneError.exit_code, f"an unexpected error ended it: {type(error).__name__}"
        raise
    finally:
        for words in teller.finish(exit_code, message):
            teller.important(f"warning: {words}")
