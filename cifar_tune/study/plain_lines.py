"""What happens in a run, as plain lines: for stderr where it is no terminal, and for logs."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from cifar_tune.storage.linked import is_networks
from cifar_tune.streams import say
from cifar_tune.study.events import Observer, TrialEnd
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.results import EpochResult
from cifar_tune.wording import counted, metric_figure, shown_params

_LINE_SECONDS = 10.0


class PlainLines(Observer):
    """One line on stderr when a trial begins and ends, and one every ten seconds in between.

    Args:
        spec: of the study.
        stamped: whether each line begins with the time, as in a log.
    """

    def __init__(self, spec: StudySpec, stamped: bool = False) -> None:
        self._spec = spec
        self._stamped = stamped
        self._epochs: dict[int, int] = {}
        self._resumed: dict[int, int] = {}
        self._last = 0.0

    def note(self, text: str) -> None:
        """Print it."""
        self._print(text)

    def decoding(self, done: int, total: int) -> None:
        """Print the share of images, now and then."""
        if self._is_time() or done == total:
            self._print(f"decoding images: {done:,} of {total:,}")

    def began(self, number: int, params: Mapping[str, object], epochs: int, resumed: int) -> None:
        """Print the trial's parameters."""
        self._epochs[number] = epochs
        goes_on = f" goes on after epoch {resumed}" if resumed else ""
        if resumed and resumed >= epochs:
            goes_on = f" has trained all {counted(epochs, 'epoch')} before the stop"
        self._resumed[number] = resumed
        self._print(f"trial {number}{goes_on}: {trained_words(self._spec, params)}")

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        """Print the epoch, now and then."""
        if result.epoch > self._resumed.get(number, 0) and self._is_time():
            self._print(
                f"trial {number}: epoch {result.epoch} of {self._epochs[number]}, {self._spec.objective.metric} "
                f"{metric_figure(value)}{seen_words(self._spec.name)}, train loss {result.train_loss:.4f} "
                f"({result.seconds:.1f} s per epoch)"
            )

    def ended(self, end: TrialEnd) -> None:
        """Print how it ended."""
        words = ending(end, self._spec.objective.metric)
        self._print(f"[{end.finished}/{end.most}] {words}{seen_words(self._spec.name, end.value)}")

    def parked(self, number: int, epochs: int) -> None:
        """Print at which epoch."""
        self._print(f"trial {number} is parked after epoch {epochs}")

    def paused(self, number: int, epochs: int) -> None:
        """Print at which epoch."""
        self._print(f"trial {number} pauses after epoch {epochs}")

    def _is_time(self) -> bool:
        if time.monotonic() - self._last < _LINE_SECONDS:
            return False
        self._last = time.monotonic()
        return True

    def _print(self, text: str) -> None:
        say(f"{stamp()} {text}" if self._stamped else text, err=True)


def stamp() -> str:
    """The time of now for a log: `2026-11-28 10:43:48Z`."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"


def ending(end: TrialEnd, metric: str) -> str:
    """`trial 3: pruned, val_accuracy 0.4123`."""
    figures = end.figures or ({} if end.value is None else {metric: end.value})
    value = "".join(f", {name} {metric_figure(figure)}" for name, figure in figures.items())
    reason = end.reason.replace("_", " ") + (f" ({end.detail})" if end.detail else "")
    best = " (best so far)" if end.best_number == end.number else ""
    if best and end.mean_of and end.best_value is not None:
        best = f"; the mean of trials {joined_numbers(end.mean_of)} is the best so far: {metric_figure(end.best_value)}"
    if end.front:
        best = f" (on the front of {len(end.front)})" if end.number in end.front else ""
    if end.state == "COMPLETE" and not end.feasible:
        best = " (breaks a constraint)"
    return f"trial {end.number}: {reason}{value}{best}"


def joined_numbers(trials: Sequence[int]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, trials))


def seen_words(name: str, value: float | None = 0.0) -> str:
    """What is to be known of a figure of one of the networks of `finalize`; empty in other studies, and without one."""
    return " on images that it was trained on" if is_networks(name) and value is not None else ""


def trained_words(spec: StudySpec, params: Mapping[str, object]) -> str:
    """What a trial trains."""
    return "a network of the chosen configuration" if is_networks(spec.name) else shown_params(params)
