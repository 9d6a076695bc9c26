"""The parts of `python -m benchmarks trust`, and its command line. A further part is one entry of `PARTS`."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.machine import facts
from benchmarks.measuring import table
from benchmarks.trust import accuracies, finals, knobs, levels, prior, pruners, repeats, stop
from benchmarks.trust.checks import Check
from cifar_tune.cli.whole_process import quieten_optuna

DOCUMENT = Path("docs/statistics.md")
_STUDIES, _FEW = 2000, 200

PARTS: Mapping[str, Callable[[int], Iterable[Check]]] = {
    "intervals": accuracies.intervals,
    "seeds": accuracies.seeds,
    "random sampling": levels.random_sampling,
    "paired differences": levels.paired,
    "importances": knobs.importances,
    "stop": stop.stop,
    "repeats": repeats.repeats,
    "prior": prior.prior,
    "finals": finals.finals,
    "ties": finals.ties,
    "test sets": finals.test_sets,
    "pruning": pruners.pruning,
}
"""Each takes a number of studies to make, and simulates as many on the functions of the product; all are seeded."""


def main(arguments: Sequence[str]) -> int:
    """Simulate, print the table, write it into `docs/statistics.md`; 1 if a figure is not what it should be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks trust", description="See whether the figures that we print hold."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; else all of them")
    parser.add_argument("--quick", action="store_true", help=f"{_FEW} studies instead of {_STUDIES:,}; writes nothing")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    quieten_optuna()
    studies = _FEW if given.quick else _STUDIES
    found = {name: list(PARTS[name](studies)) for name in given.parts or PARTS}
    text = "\n\n".join(f"## {name}\n\n{_table(checks)}" for name, checks in found.items())
    print(text)
    if not given.quick and not given.parts:
        DOCUMENT.write_text(f"{_INTRODUCTION.format(studies=studies, facts=facts())}\n\n{text}\n")
    broken = [check.words for checks in found.values() for check in checks if not check.holds]
    for words in broken:
        print(f"does not hold: {words}")
    return 1 if broken else 0


def _table(checks: Sequence[Check]) -> str:
    rows = [(check.words, f"{check.value:.3g}", check.wanted, check.note) for check in checks]
    return table(("figure", "found", "wanted", "to compare"), rows)


_INTRODUCTION = """# Do the figures hold?

Written by `python -m benchmarks trust`. It makes studies whose truth is known ({studies:,} of them, or as many as a
row says), lets the functions of cifar-tune judge them, and compares. All simulations are seeded: the same versions
print the same figures. {facts}."""
