"""How the server shares slots: a simulated week of a lab, beside first come, first served."""

from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks.made_week import HOUR, Course, Planner, Work, as_they_came, course, made_week, planner
from benchmarks.measuring import spread, table
from benchmarks.question import Options
from cifar_tune.service.scheduling import Rules

_SEEDS = range(3)
_RULES = Rules()
_PLANNERS: Mapping[str, Planner] = {"shared": planner(_RULES), "first come, first served": as_they_came}


def measure(options: Options) -> Sequence[str]:
    """See how long people wait, how shares keep to weights, and how many slots do nothing."""
    seeds = _SEEDS[:1] if options.quick else _SEEDS
    days = 2.0 if options.quick else 7.0
    studies = 150 if options.quick else 500
    found: dict[str, list[tuple[Sequence[Work], Course]]] = {name: [] for name in _PLANNERS}
    for seed in seeds:
        for name, share in _PLANNERS.items():
            week = made_week(seed, studies, days)
            found[name].append((week, course(week, share, _RULES, days=days, seed=seed)))
    rows = [
        ("longest time without any slot, of a person with work of priority 0 or above, h", _hungriest),
        ("wait of people who submit now and then, median, h", _median_wait),
        ("the same, 95 %, h", _long_wait),
        ("longest wait of a study with priority -1, h", _background_wait),
        ("largest deviation of a share from its weight, %", _shares_off),
        ("slots that train nothing while something waits, %", _lost),
        ("executors that began", lambda _week, lived: float(lived.moves)),
        ("studies that ended", lambda _week, lived: float(lived.finished)),
    ]
    columns = [[spread([figure(*each) for each in found[name]]) for name in _PLANNERS] for _, figure in rows]
    return [
        "## Sharing slots",
        f"A simulation with the server's own planning: {studies} studies of 20 people on 8 slots in {days:.0f} days. "
        f"Six people, with weights 1, 1, 1, 2, 2 and 3, submit more in the first hour than all slots can do in the "
        f"week. The 14 others submit now and then, a tenth of their studies with priority 1 and a tenth with priority "
        f"-1. A new executor needs 8 s before it trains. A parked one first ends its epoch, which takes 5 to 120 s. "
        f"Medians and extremes of {len(seeds)} seeds.",
        table(
            ["", *_PLANNERS],
            [[label, *columns[place]] for place, (label, _) in enumerate(rows)],
        ),
    ]


def _hungriest(_week: Sequence[Work], lived: Course) -> float:
    return max(lived.hungry.values()) / HOUR


def _waits_of_others(week: Sequence[Work], lived: Course) -> list[float]:
    return sorted(
        lived.waits[work.study] / HOUR
        for work in week
        if work.owner.startswith("other") and work.priority >= 0 and work.study in lived.waits
    )


def _median_wait(week: Sequence[Work], lived: Course) -> float:
    return median(_waits_of_others(week, lived))


def _long_wait(week: Sequence[Work], lived: Course) -> float:
    waits = _waits_of_others(week, lived)
    return waits[int(0.95 * len(waits))]


def _background_wait(week: Sequence[Work], lived: Course) -> float:
    return max((lived.waits.get(work.study, 0.0) for work in week if work.priority < 0), default=0.0) / HOUR


def _shares_off(_week: Sequence[Work], lived: Course) -> float:
    return 100 * lived.shares_off()


def _lost(_week: Sequence[Work], lived: Course) -> float:
    return 100 * lived.lost / lived.slot_seconds
