"""The parts of `python -m benchmarks trust`, and its command line. A further part is one entry of `PARTS`."""

import argparse
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.images import find_images
from benchmarks.machine import facts
from benchmarks.measuring import table
from benchmarks.question import write_section
from benchmarks.trust import accuracies, finals, knobs, levels, prior, pruners, repeats, stop
from benchmarks.trust.checks import Check
from benchmarks.trust.real import FEW, Size, real
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
    parser.add_argument(
        "--real", metavar="FOLDER", help="finalize a study on the images of this folder instead (some ten minutes)"
    )
    parser.add_argument("--keep", metavar="FOLDER", help="of --real: where its study is kept, and goes on after a stop")
    given = parser.parse_args(arguments)
    if given.real is not None:
        return _real(given.real, given.keep, quick=given.quick)
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    quieten_optuna()
    studies = _FEW if given.quick else _STUDIES
    found = {name: list(PARTS[name](studies)) for name in given.parts or PARTS}
    text = "\n\n".join(f"## {name}\n\n{_table(checks)}" for name, checks in found.items())
    print(text)
    if not given.quick and not given.parts:
        kept = _SECTION.search(DOCUMENT.read_text()) if DOCUMENT.exists() else None
        DOCUMENT.write_text(f"{_INTRODUCTION.format(studies=studies, facts=facts())}\n\n{text}\n")
        if kept is not None:
            write_section(DOCUMENT, _REAL, kept[1])
    return _verdict([check for checks in found.values() for check in checks])


_REAL = "real images"
_SECTION = re.compile(rf"<!-- {_REAL} -->\n(.*?)\n<!-- end of {_REAL} -->\n", re.DOTALL)


def _real(folder: str, kept: str | None, *, quick: bool) -> int:
    """The same of a study on real images: trains for minutes, and writes its own section of the document."""
    before = facts()
    with tempfile.TemporaryDirectory(prefix="cifar-tune-trust-") as scratch:
        os.environ.setdefault("CIFAR_TUNE_CACHE", str(Path("storage/cache").absolute()))
        images = find_images(folder, Path(scratch))
        size = FEW if quick else Size()
        checks = list(real(images, Path(kept or scratch).absolute(), size))
    text = f"## {_REAL}\n\n{_REAL_WORDS.format(size=size, images=images.words, facts=before)}\n\n{_table(checks)}"
    print(text)
    if not quick:
        write_section(DOCUMENT, _REAL, text)
    return _verdict(checks)


def _verdict(checks: Sequence[Check]) -> int:
    broken = [check.words for check in checks if not check.holds]
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

_REAL_WORDS = """Measured by `python -m benchmarks trust --real FOLDER` on {images}: a study of {size.trials}
trials, of two epochs of cnn3 (width 8) on 5,000 training and 1,000 validation images. `cifar-tune
finalize --trainings {size.race}` races its best trials. Then the best trial and the winner are trained {size.fresh}
times each with fresh seeds, the same for both, and measured on 5,000 images that neither the study nor the race nor the
test has used to choose anything (less a tenth, on which the study trained). The luck of the validation split moves all
configurations alike, so the best trial of one study may also look worse than it is. {facts}."""
