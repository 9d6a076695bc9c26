"""Pictures of the test set in the page: the confusion matrix and the reliability diagram."""

from itertools import accumulate
from unicodedata import east_asian_width

from markupsafe import Markup

from cifar_tune.reports.page.panel import NARROW, Axis, Panel, number
from cifar_tune.storage.analyses import Analysis

_WIDE = 620.0
_MOST_NUMBERED = 12
"""Classes up to which the cells of the narrow picture have room for their numbers."""

MOST_CLASSES = 40
"""With more, cells would be too small to see."""

_SHADES = 6
_LONGEST = 12
_LEFT = 84.0


def confusion_pictures(analysis: Analysis) -> tuple[Markup, Markup] | None:
    """The confusion matrix, wide and narrow; None with too many classes."""
    if len(analysis.classes) > MOST_CLASSES:
        return None
    return _confusion(analysis, _WIDE), _confusion(analysis, NARROW)


def _confusion(analysis: Analysis, width: float) -> Markup:
    table, names = analysis.confusion, [_short(name) for name in analysis.classes]
    side = min((width - _LEFT) / len(names), 48.0)
    top = side * len(names)
    is_numbered = len(names) <= _MOST_NUMBERED
    is_named = side >= 11
    cells, numbers, labels = [], [], []
    for row, images in enumerate(table.sum(1).tolist()):
        for column, count in enumerate(table[row].tolist()):
            x, y = _LEFT + column * side, row * side
            shade = 0 if not count else 1 + round((_SHADES - 1) * count / images)
            cells.append(
                Markup('<path class="c{}" d="M{} {}h{}v{}h-{}z"><title>{}</title></path>').format(
                    shade, number(x), number(y), number(side - 1), number(side - 1), number(side - 1),
                    f"{analysis.classes[row]}, taken for {analysis.classes[column]}: {count:,}",
                )
            )  # fmt: skip
            if is_numbered and count:
                look = "mid on" if shade > _SHADES - 2 else "mid"
                numbers.append(
                    Markup('<text class="{}" x="{}" y="{}">{}</text>').format(
                        look, number(x + side / 2), number(y + side / 2 + 3.5), count
                    )
                )
        if is_named:
            at = (row + 0.5) * side
            labels.append(
                Markup('<text class="tick end" x="{}" y="{}">{}</text>').format(
                    number(_LEFT - 5), number(at + 3.5), names[row]
                )
            )
            labels.append(
                Markup('<text class="tick end" transform="translate({} {}) rotate(-60)">{}</text>').format(
                    number(_LEFT + at + 3), number(top + 10), names[row]
                )
            )
    height = top + (82 if is_named else 6)
    return Markup(
        '<svg class="confusion" viewBox="0 0 {} {}" role="img" aria-label="confusion matrix">{}</svg>'
    ).format(round(width), round(height), Markup("").join((*cells, *numbers, *labels)))


def reliability_picture(analysis: Analysis) -> Markup:
    """The accuracy over the probability of the predicted class, bin by bin."""
    ticks = [(tick / 5, f"{tick / 5:.1f}") for tick in range(6)]
    panel = Panel(
        NARROW, 300, Axis(0, 1, ticks, "probability of the predicted class"), Axis(0, 1, ticks, "share that is right")
    )
    most = max(each.images for each in analysis.bins)
    for each in analysis.bins:
        if each.accuracy is None or each.confidence is None:
            continue
        left, right, top = panel.x(each.low), panel.x(each.high), panel.y(each.accuracy)
        panel.add(
            Markup('<path class="c{}" d="M{} {}H{}V{}H{}z"><title>{}</title></path>').format(
                2 + round((_SHADES - 2) * each.images / most),
                number(left + 0.5), number(panel.bottom), number(right - 0.5), number(top), number(left + 0.5),
                f"{each.images:,} images: mean probability {each.confidence:.3f}, right {each.accuracy:.3f}",
            )
        )  # fmt: skip
        panel.add(Markup('<path class="median" d="M{} {}H{}"/>').format(number(left), number(top), number(right)))
    panel.line([(0, 0), (1, 1)], "ideal")
    return panel.render("reliability diagram")


def _short(name: str) -> str:
    widths = list(accumulate(2 if east_asian_width(character) in "WF" else 1 for character in name))
    if not widths or widths[-1] <= _LONGEST:
        return name
    return f"{name[: sum(width < _LONGEST for width in widths)]}…"
