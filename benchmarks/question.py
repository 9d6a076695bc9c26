"""What all benchmarks share: their options, and where their answers are written."""

import argparse
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.images import IMAGES_VARIABLE, Images, find_images
from benchmarks.machine import facts

_TRAINING = ("trial", "limit", "predictions", "quality")
"""Questions that train on images."""

DOCUMENT = Path("docs/performance.md")
_INTRODUCTION = """# Performance

`make bench` writes this page. It measures cifar-tune and the alternatives side by side, in the same run on the same
machine: in each round, every variant has one turn. A ratio is the median over the rounds, with the smallest and the
largest one in parentheses. Ratios below 1.3 may be noise; where trials only sleep, ratios below 1.1. "Wanted" is the
aim that we set before we measured. Each section says how it was measured, and on which machine."""


@dataclass(frozen=True)
class Options:
    """How much to measure, and on what.

    Attributes:
        quick: a smoke test of a minute or two per question: its figures say little.
        given: the folder of images that was asked for.
        scratch: a folder that is deleted at the end.
        minutes: of each search in `quality`.
        repetitions: of each search in `quality`.
    """

    quick: bool
    given: str | None
    scratch: Path
    minutes: float
    repetitions: int

    @cached_property
    def images(self) -> Images:
        """What is trained on; looked for, or made, when a question needs them."""
        return find_images(self.given, self.scratch)


Measure = Callable[[Options], Sequence[str]]
"""Answers a question: a heading of level 2 and paragraphs, in Markdown."""


def run(questions: Mapping[str, Measure], arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for, print it, and write it into `docs/performance.md` in place of older answers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how fast cifar-tune is.")
    if len(questions) > 1:
        parser.add_argument("names", nargs="*", metavar="QUESTION", help=f"of {', '.join(questions)}; else all of them")
    parser.add_argument("--quick", action="store_true", help="a smoke test: little is measured, and not written down")
    parser.add_argument("--images", help=f"folder that holds train/<class>/*; else {IMAGES_VARIABLE}, or data/")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each search in quality (default: 10)")
    parser.add_argument("--repetitions", type=int, default=2, help="of each search in quality (default: 2)")
    parser.add_argument("--write", type=Path, help=f"document to write; else {DOCUMENT}, with --quick none")
    given = parser.parse_args(arguments)
    names = getattr(given, "names", None) or list(questions)
    unknown = [name for name in names if name not in questions]
    if unknown:
        parser.error(f"no such question: {', '.join(unknown)}; there are {', '.join(questions)}")
    document = given.write or (None if given.quick else DOCUMENT)
    with tempfile.TemporaryDirectory(prefix="cifar-tune-bench-", ignore_cleanup_errors=True) as scratch:
        os.environ.setdefault("CIFAR_TUNE_CACHE", str(Path("storage/cache").absolute()))
        os.environ["CIFAR_TUNE_ARTIFACTS"] = str(Path(scratch, "artifacts"))
        options = Options(given.quick, given.images, Path(scratch), given.minutes, given.repetitions)
        for name in names:
            before = facts()
            text = "\n\n".join([*questions[name](options), _circumstances(name, options, before)])
            print(f"{text}\n", flush=True)
            if document is not None:
                write_section(document, name, text)


def write_section(document: Path, name: str, text: str) -> None:
    """Put a section into the document, in place of the one of that name, or at its end."""
    document.parent.mkdir(parents=True, exist_ok=True)
    before = document.read_text() if document.exists() else _INTRODUCTION + "\n"
    section = f"<!-- {name} -->\n{text}\n<!-- end of {name} -->\n"
    pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- end of {name} -->\n", re.DOTALL)
    is_known = pattern.search(before) is not None
    after = pattern.sub(lambda _: section, before) if is_known else f"{before}\n{section}"
    document.write_text(after)


def _circumstances(name: str, options: Options, machine: str) -> str:
    command = f"python -m benchmarks {name}"
    if name == "quality":
        command += f" --minutes {options.minutes:g} --repetitions {options.repetitions}"
    command += " --quick" if options.quick else ""
    images = f" on {options.images.words}" if name in _TRAINING else ""
    return f"Measured by `{command}`{images}: {machine}."
