"""Importances as bars, with how they vary and what chance would give."""

from markupsafe import Markup

from cifar_tune.reports.importance_chance import Chance, Spread
from cifar_tune.reports.importances import Importances, share_words
from cifar_tune.reports.page.panel import NARROW, number
from cifar_tune.reports.report import Report

_ROW = 34
_RIGHT = 4.0


def importance_bars(report: Report, found: Importances, spread: Spread | None, chance: Chance | None) -> Markup:
    """One bar per knob, longest on top; the line across its end reaches over 90 of 100 resamples.

    The share stands behind the knob's name, and behind it the ends of that line. A grey mark shows what chance would
    give, at the end of the picture where that is farther away.
    """
    labels = {knob.name: knob.label for knob in report.knobs}
    longest = max([*found.shares.values(), *(high for _, high in (spread.intervals.values() if spread else ()))])
    reach = (NARROW - _RIGHT) / longest
    parts = []
    for row, (name, share) in enumerate(found.shares.items()):
        top = row * _ROW
        around = "" if spread is None else _around(*spread.intervals[name])
        parts.append(
            Markup(
                '<text class="label" x="0" y="{}">{} <tspan class="share" dx="4">{}</tspan>'
                '<tspan class="tick" dx="8">{}</tspan></text>'
            ).format(top + 12, labels[name], share_words(share), around)
        )
        parts.append(
            Markup('<rect class="bar" x="0" y="{}" width="{}" height="11"/>').format(
                top + 17, number(max(share * reach, 1))
            )
        )
        if spread is not None:
            low, high = (value * reach for value in spread.intervals[name])
            at = number(top + 22.5)
            parts.append(
                Markup('<path class="whisker" d="M{} {}H{}M{} {}v8M{} {}v8"><title>{}</title></path>').format(
                    number(low),
                    at,
                    number(high),
                    number(low),
                    top + 18.5,
                    number(high),
                    top + 18.5,
                    around,
                )
            )
        if chance is not None:
            mark = chance.marks[name]
            parts.append(
                Markup('<path class="chance" d="M{} {}v15"><title>{}</title></path>').format(
                    number(min(mark, longest) * reach), number(top + 15), f"by chance up to {share_words(mark)}"
                )
            )
    return Markup('<svg viewBox="-2 0 {} {}" role="img" aria-label="importances">{}</svg>').format(
        round(NARROW) + 2, len(found.shares) * _ROW + 4, Markup("").join(parts)
    )


def _around(low: float, high: float) -> str:
    """`15 to 66 %`. What is above 0 is not called `0 to 0 %`."""
    return f"{100 * low:.0f} to {max(100 * high, 1):.0f} %" if high > 0 else "0 %"
