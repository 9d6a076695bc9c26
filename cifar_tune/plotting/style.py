"""The look of all pictures: one calm style, colours that colour-blind people can tell apart."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from PIL import Image

from cifar_tune.plotting.characters import FONT, make_readable, quiet_fonts

BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "#8C939B"
INK = "#2B2F36"
QUIET = "#5A616A"
SERIES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
"""Of Okabe and Ito's palette, in the order of use."""

WORSE_TO_BETTER = ("#E3E6EA", "#A9C6DD", "#4F93C1", "#14588F", "#08263F")
"""From worse to better: light to dark, so that good trials stand out on white, in grey print too."""

_DPI = 120
_STYLE: Any = {
    "font.family": FONT,
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": "#B4BAC2",
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ECEEF1",
    "grid.linewidth": 0.8,
    "xtick.color": "#6B727B",
    "ytick.color": "#6B727B",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
}


class NotebookFigure(Figure):
    """A figure that a notebook shows by itself, whatever it thinks of matplotlib's windows."""

    def _repr_png_(self) -> bytes:
        with applied():
            return drawn_png(self)


_drawing = threading.RLock()


@contextmanager
def applied() -> Iterator[None]:
    """A context in which figures are drawn and saved; one thread after the other, since matplotlib has one style."""
    with _drawing, mpl.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, which no window system knows of."""
    return NotebookFigure(figsize=(width, height), dpi=_DPI, layout="constrained")


def title(figure: Figure, text: str, remark: str = "") -> None:
    """Head a figure of several axes, with a smaller remark below."""
    figure.suptitle(text, x=0.012, ha="left", fontsize=11, fontweight="bold")
    if remark:
        _remark(figure, remark)


def remark_height(text: str, width: float) -> float:
    """The inches that a remark takes below a figure of this many inches."""
    return 0.15 * len(_filled(text, width).split("\n"))


def sentence(text: str) -> Figure:
    """A small picture that says why there is nothing to see."""
    figure = new_figure(6.0, 1.2)
    figure.text(0.5, 0.5, fill(text, 80), ha="center", va="center", color=QUIET)
    return figure


def finish(figure: Figure) -> None:
    """Make all characters of a figure readable; to be called when all of it is drawn."""
    escaped = make_readable(figure)
    if escaped:
        before = figure.get_supxlabel()
        _remark(figure, f"{before}\n{escaped}" if before else escaped)


def drawn_png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file, as soon as possible."""
    return _as_png(_pixels(figure))


def png(figure: Figure, palette: bool = True) -> bytes:
    """A figure as the content of a PNG file.

    It gets a palette, since many lines across each other would make a file four times as large otherwise. Of Pillow's
    ways to choose one, maximum coverage alone keeps rare colours: the best trial stays orange. Photographs have too
    many colours for it: without `palette`, all are kept.
    """
    pixels = _pixels(figure)
    if palette:
        pixels = pixels.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    return _as_png(pixels)


_MOST_MARKS = 2000
"""Of one kind in a vector picture; more are drawn as pixels in it, since each of them takes a hundred bytes."""

_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""What keeps the same figure the same file."""


def drawn_as(figure: Figure, formats: Collection[str], palette: bool = True) -> dict[str, bytes]:
    """A figure as the content of files: a PNG file, as of `png`, and others.

    Args:
        figure: all of it is drawn.
        formats: of the other files, `svg` or `pdf`. Their lines and letters stay sharp at every size.
        palette: of the PNG file.

    Returns:
        The contents by format, `png` first.
    """
    found = {"png": png(figure, palette)}
    if not formats:
        return found
    for marks in figure.findobj(PathCollection):
        if isinstance(marks, PathCollection) and len(np.asarray(marks.get_offsets())) > _MOST_MARKS:
            marks.set_rasterized(True)
    with mpl.rc_context({"svg.hashsalt": "cifar-tune", "pdf.fonttype": 42}), quiet_fonts():
        for each in formats:
            content = BytesIO()
            figure.savefig(content, format=each, metadata=_UNDATED[each])
            found[each] = content.getvalue()
    return found


def _pixels(figure: Figure) -> Image.Image:
    """The figure as `savefig` draws it, but drawn once: that does it twice, to lay it out first."""
    finish(figure)
    canvas = FigureCanvasAgg(figure)
    with quiet_fonts():
        canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]


def _as_png(pixels: Image.Image) -> bytes:
    content = BytesIO()
    pixels.save(content, format="PNG", dpi=(_DPI, _DPI))
    return content.getvalue()


def completed_dots(many: bool) -> dict[str, Any]:
    """How a completed trial looks in a scatter plot; small and light where there are many."""
    return {"color": BLUE, "s": 7 if many else 20, "alpha": 0.4 if many else 0.85, "linewidths": 0, "zorder": 2.5}


def infeasible_dots(many: bool) -> dict[str, Any]:
    """How a completed trial that breaks a constraint looks in a scatter plot: hollow and grey."""
    return {"facecolors": "none", "edgecolors": GREY, "s": 7 if many else 20, "alpha": 0.4 if many else 0.8,
            "linewidths": 0.9, "zorder": 2.4}  # fmt: skip


def pruned_crosses(many: bool) -> dict[str, Any]:
    """How a pruned trial looks in a scatter plot: faint."""
    return {"color": GREY, "marker": "x", "s": 7 if many else 18, "alpha": 0.25 if many else 0.65, "linewidths": 0.8}


def best_diamond() -> dict[str, Any]:
    """How the best trial looks in a scatter plot."""
    return {"color": ORANGE, "marker": "D", "s": 42, "edgecolors": "white", "linewidths": 0.8, "zorder": 5}


def _remark(figure: Figure, text: str) -> None:
    figure.supxlabel(_filled(text, figure.get_figwidth()), x=0.012, ha="left", fontsize=8, color=QUIET)


def _filled(text: str, width: float) -> str:
    characters = int(width * 17)  # of this size, that fit into an inch
    return "\n".join(fill(line, characters) for line in text.split("\n"))


def hide_x_grid(axes: Axes) -> None:
    """Leave only the lines that help reading off the objective."""
    axes.grid(visible=False, axis="x")
