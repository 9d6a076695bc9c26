"""Markdown tables, and how figures are written in them."""

import re
from collections.abc import Iterable, Sequence

from cifar_tune.knobs.part import Value

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
    return f"`{plain}`"


def inert(text: str) -> str:
    """Text that Markdown shows as it is: no link, picture, HTML or code comes of it."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def figure(value: Value | None) -> str:
    """A knob's value with four digits; a dash where there is none."""
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.4g}"
        case tuple():
            return "+".join(value) or "none"
    return str(value)


def exact(value: object) -> str:
    """A knob's value with every digit, as a study file has it, but for an empty list, which is `none`."""
    if isinstance(value, bool):
        return str(value).lower()
    if value in ([], ()):
        return "none"
    if isinstance(value, list):
        return f"[{', '.join(str(item) for item in value)}]"
    return str(value)


def duration(seconds: float) -> str:
    """`48 s`, `12 min 5 s` or `3 h 20 min`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
