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

_ASKS: Mapping[str, str] = {
    "intervals": (
        "Do 95 % intervals of an accuracy contain the true accuracy? The last column has the textbook formula p ± "
        "1.96 sqrt(p (1 - p) / n), which is too narrow near 100 %."
    ),
    "seeds": "Is the mean of `train best.yaml --seeds N` too high, because the configuration was chosen among many?",
    "random sampling": (
        "Do the intervals of means in `compare` contain the true mean? They are printed only where trials are a "
        "random sample."
    ),
    "paired differences": (
        "Do the intervals of differences in `compare` hold for all levels together, and do they find a real difference?"
    ),
    "importances": (
        "How often does the report say that a knob matters where none does, and how often does it find one that does?"
    ),
    "stop": (
        "How many trials does `stop: {when: noise}` save, and how much worse is the configuration that is chosen?"
    ),
    "repeats": "How many trainings does stopping early save with `repeats`, and is the choice as good?",
    "prior": "What does a `prior` on a knob gain if it is right, and what does it cost if it is wrong?",
    "finals": (
        "How close does the race of `finalize` come to the best configuration, and does the winner's interval "
        "contain its true accuracy?"
    ),
    "ties": 'Are the statements about tied candidates ("at most U points worse") true?',
    "test sets": "Does the interval of the test accuracy for new images and new seeds contain the true accuracy?",
    "pruning": "Are the standard errors that `benchmarks.pruning` prints as large as independent studies would give?",
}
"""What each part asks, in the words of the page."""


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
    text = "\n\n".join(f"## {name}\n\n{_ASKS[name]}\n\n{_table(checks)}" for name, checks in found.items())
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

`python -m benchmarks trust` writes this page. It makes up {studies:,} studies (or as many as a row says) in which the
true accuracy of every configuration is known. It lets the functions of cifar-tune judge them, and compares what they
say with the truth. "Found" is what came out, and "wanted" the range in which it should be. "To compare" is what
another method gives. An interval "holds" a value if the value lies inside it. Points are percentage points of
accuracy. All simulations are seeded: the same versions print the same figures. {facts}."""

_REAL_WORDS = """Measured by `python -m benchmarks trust --real FOLDER` on {images}. A study has {size.trials} trials,
each two epochs of cnn3 (width 8) on 5,000 training and 1,000 validation images. `cifar-tune finalize --trainings
{size.race}` races its best trials. Then the best trial and the winner are trained {size.fresh} times each with the
same fresh seeds. They are measured on 5,000 other images, which neither the study nor the race nor the test has used
to choose anything (less a tenth, on which the study trained). A validation split can be easier or harder than others,
and that moves all configurations alike. So the best trial of one study may also look worse than it is. {facts}."""
