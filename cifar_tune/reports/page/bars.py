"""Importances as bars, with how they vary and what chance would give."""

from markupsafe import Markup

from cifar_tune.reports.importance_chance import Chance, Spread
from cifar_tune.reports.importances import Importances
from cifar_tune.reports.page.panel import NARROW, number
from cifar_tune.reports.report import Report

_ROW = 34
_RIGHT = 46.0


def importance_bars(report: Report, found: Importances, spread: Spread | None, chance: Chance | None) -> Markup:
    """One bar per knob, longest on top; the line across its end reaches over 90 of 100 resamples.

    A grey mark shows what chance would give, at the end of the picture where that is farther away.
    """
    labels = {knob.name: knob.label for knob in report.knobs}
    longest = max([*found.shares.values(), *(high for _, high in (spread.intervals.values() if spread else ()))])
    reach = (NARROW - _RIGHT) / longest
    parts = []
    for row, (name, share) in enumerate(found.shares.items()):
        top = row * _ROW
        parts.append(Markup('<text class="label" x="0" y="{}">{}</text>').format(top + 12, labels[name]))
        parts.append(
            Markup('<rect class="bar" x="0" y="{}" width="{}" height="11"/>').format(
                top + 17, number(max(share * reach, 1))
            )
        )
        end = share * reach
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
                    f"{low / reach:.1%} to {high / reach:.1%}",
                )
            )
            end = max(end, high)
        if chance is not None:
            mark = chance.marks[name]
            parts.append(
                Markup('<path class="chance" d="M{} {}v15"><title>{}</title></path>').format(
                    number(min(mark, longest) * reach), number(top + 15), f"by chance up to {mark:.1%}"
                )
            )
            end = max(end, min(mark, longest) * reach)
        parts.append(
            Markup('<text class="tick" x="{}" y="{}">{}</text>').format(number(end + 6), top + 27, f"{share:.1%}")
        )
    return Markup('<svg viewBox="-2 0 {} {}" role="img" aria-label="importances">{}</svg>').format(
        round(NARROW) + 2, len(found.shares) * _ROW + 4, Markup("").join(parts)
    )
