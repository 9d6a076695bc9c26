"""Markdown tables, and how figures are written in them."""

import re
from collections.abc import Iterable, Sequence

from cifar_tune.visible import visible

_MARKUP = re.compile(r"[\\`<&\[\]]")
"""What begins a link, a picture, HTML or code."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A Markdown table; the columns in `right` are aligned to the right."""
    rules = ["---:" if index in right else "---" for index in range(len(header))]
    lines = (" | ".join(_cell(cell) for cell in line) for line in (header, rules, *rows))
    return "\n".join(f"| {line} |" for line in lines)


def code(text: object) -> str:
    """Text as it is, in a code span on one line."""
    plain = " ".join(str(text).replace("`", "'").split())
    return f"`{visible(plain)}`"


def inert(text: str) -> str:
    """Text that Markdown shows as it is: no link, picture, HTML or code comes of it."""
    return _MARKUP.sub(r"\\\g<0>", visible(" ".join(text.split())))


def _cell(text: str) -> str:
    return visible(text).replace("|", "\\|")
