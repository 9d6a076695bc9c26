"""What torch tells by warnings alone: heard where it is of use, and told to people in other words."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Heard:
    """A warning: its text, and the place in the code that it is about."""

    text: str
    filename: str
    line: int


@contextmanager
def listening(*marks: str) -> Iterator[list[Heard]]:
    """Hear every warning that contains one of the marks, however often; it is not shown.

    All other warnings are treated as they are outside, and shown at once: where Python shows one only the first time,
    it stays so within this context. Warnings of other threads are treated likewise. But no other thread may change
    how warnings are treated meanwhile (`warnings.catch_warnings`), since that setting is one for the process.

    Yields:
        What was heard so far, in its order.
    """
    heard: list[Heard] = []
    with warnings.catch_warnings():
        for mark in marks:
            warnings.filterwarnings("always", f"(?s).*{re.escape(mark)}")
        show = warnings.showwarning

        def hear(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            text = str(message)
            if any(mark in text for mark in marks):
                heard.append(Heard(text, filename, lineno))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = hear
        yield heard
