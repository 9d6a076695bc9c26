"""Running trials in a terminal: one line each, however narrow it is."""

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

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
            *([Text(device)] if self._with_device else []),
            Text(params, style="dim"),
        ]
        self.table.add_row(*cells)


def seconds_per_epoch(seconds: float) -> str:
    """A trial's speed in words."""
    return f"{seconds:.1f} s/epoch"
