"""Progress on stderr: a live view in a terminal, plain lines where stderr is piped, next to nothing with --quiet."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cifar_tune.streams import drawing_stream
from cifar_tune.study.budget import within_budget
from cifar_tune.study.events import Observer, TrialEnd
from cifar_tune.study.plain_lines import PlainLines, ending, joined_numbers, seen_words, trained_words
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.results import EpochResult
from cifar_tune.visible import visible
from cifar_tune.wording import epoch_speed, estimated_duration, metric_figure

_BAR = 10


class TrialRows:
    """A table to which running trials are added.

    Args:
        metric: the name of what their values are.
        with_device: whether there is a column for devices.
    """

    def __init__(self, metric: str, with_device: bool = False) -> None:
        self._metric = metric
        self._with_device = with_device
        self.table = Table(box=None, pad_edge=False, show_header=False, expand=True)
        for justify in ("left", "left", "right", "left", "right", *(["left"] if with_device else [])):
            self.table.add_column(justify=justify, no_wrap=True)  # type: ignore[arg-type]
        self.table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)  # what is left of the line

    def add(
        self,
        number: int,
        epoch: int,
        epochs: int,
        value: str | None = None,
        words: str = "",
        device: str = "",
        params: str = "",
    ) -> None:
        """Add a trial with words on its speed or fate; `epochs` is 0 where nobody knows how many it is to have."""
        cells: list[RenderableType] = [
            Text(f"trial {number}"),
            ProgressBar(total=max(epochs, 1), completed=epoch, width=_BAR),
            Text(f"{epoch}/{epochs or '?'}"),
            Text("" if value is None else f"{self._metric} {value}"),
            Text(words),
            *([Text(visible(device))] if self._with_device else []),
            Text(visible(params), style="dim"),
        ]
        self.table.add_row(*cells)


@contextmanager
def observer(spec: StudySpec, quiet: bool) -> Iterator[Observer]:
    """The observer that suits stderr."""
    if quiet:
        yield ImportantLines()
    elif sys.stderr.isatty():
        view = LiveView(spec, Console(file=drawing_stream(sys.stderr)))
        with Live(get_renderable=view.render, console=view.console, refresh_per_second=4, transient=True):
            yield view
    else:
        yield PlainLines(spec)


class ImportantLines(Observer):
    """No progress; only what was changed, and what weighs on the result."""

    def important(self, text: str) -> None:
        """Print it."""
        print(visible(text), file=sys.stderr, flush=True)


class LiveView(Observer):
    """Trials done, the best one, every running trial's epoch, and when it will be over."""

    def __init__(self, spec: StudySpec, console: Console) -> None:
        self.console = console
        self._spec = spec
        self._running: dict[int, _Row] = {}
        self._decoding: tuple[int, int] | None = None
        self._end: TrialEnd | None = None
        self._started = time.monotonic()
        self._ended_here = 0
        self._states = {"COMPLETE": 0, "PRUNED": 0, "FAIL": 0}

    def note(self, text: str) -> None:
        """Print it above the view."""
        self.console.print(Text(visible(text), style="dim"))

    def decoding(self, done: int, total: int) -> None:
        """Show a bar."""
        self._decoding = None if done == total else (done, total)

    def began(self, number: int, params: Mapping[str, object], epochs: int, resumed: int) -> None:
        """Show one more running trial."""
        self._running[number] = _Row(trained_words(self._spec, params), epochs, resumed)

    def epoch(self, number: int, result: EpochResult, value: float) -> None:
        """Show the epoch."""
        row = self._running[number]
        row.epoch, row.value, row.speed = result.epoch, value, epoch_speed(result.seconds)

    def ended(self, end: TrialEnd) -> None:
        """Print how it ended above the view."""
        self._running.pop(end.number, None)
        self._end = end
        self._ended_here += 1
        self._states[end.state] += 1
        style = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}[end.state]
        words = f"{ending(end, self._spec.objective.metric)}{seen_words(self._spec.name, end.value)}"
        self.console.print(Text(visible(words), style=style))

    def parked(self, number: int, epochs: int) -> None:
        """Print at which epoch."""
        self._running.pop(number, None)
        self.console.print(Text(f"trial {number} is parked after epoch {epochs}"))

    def paused(self, number: int, epochs: int) -> None:
        """Print at which epoch."""
        self._running.pop(number, None)
        self.console.print(Text(f"trial {number} pauses after epoch {epochs}", style="dim"))

    def render(self) -> Group:
        """Draw the view as it stands."""
        parts: list[Text | Table] = [self._headline()]
        if self._decoding:
            parts.append(Text("decoding images: {:,} of {:,}".format(*self._decoding)))
        elif not self._running:
            parts.append(
                Text("starting executors" if self._ended_here == 0 else "choosing the next trial", style="dim")
            )
        if self._running:
            parts.append(self._table())
        return Group(*parts)

    def _headline(self) -> Text:
        metric = self._spec.objective.metric
        done = f"{self._end.finished} of {self._end.most} trials" if self._end else self._spec.name
        text = Text(f"{self._spec.name}: {done}" if self._end else done, style="bold")
        if self._ended_here:
            text.append(", ".join(["", *(f"{count} {state}" for state, count in self._states.items() if count)]))
        if self._end and self._end.best_value is not None:
            front = f"{len(self._end.front)} on the Pareto front, " if self._end.front else ""
            best = metric_figure(self._end.best_value)
            where = f"mean of trials {joined_numbers(self._end.mean_of)}" if self._end.mean_of else None
            text.append(f" | {front}best {metric} {best} ({where or f'trial {self._end.best_number}'})", style="green")
        if self._end and self._ended_here >= 3:
            pace = (time.monotonic() - self._started) / self._ended_here
            left = pace * (self._end.most - self._end.finished)
            text.append(f" | {estimated_duration(within_budget(self._spec, left, self._end.elapsed))} left")
        return text

    def _table(self) -> Table:
        rows = TrialRows(self._spec.objective.metric)
        for number, row in sorted(self._running.items()):
            value = None if row.value is None else metric_figure(row.value)
            rows.add(number, row.epoch, row.epochs, value, row.speed, params=row.params)
        return rows.table


class _Row:
    def __init__(self, params: str, epochs: int, epoch: int) -> None:
        self.params = params
        self.epochs = epochs
        self.epoch = epoch
        self.value: float | None = None
        self.speed = ""
