"""Text of others as people may see it: what would steer a terminal, or turn lines around, is written as an escape.

Names of studies, classes and files, errors, and the meanings of a plugin's parts come from other programs and people. A
terminal obeys some characters in them: it moves its cursor, changes its title, or shows a line backwards.
"""

import re

_CONTROL = r"\x00-\x1f\x7f-\x9f"
_INVISIBLE = r"\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Marks of direction, other separators of lines, and what has no width. Joiners stay: some scripts need them."""

_SURROGATES = r"\ud800-\udfff"

_ODD = re.compile(f"[{_CONTROL}{_INVISIBLE}{_SURROGATES}]")
_ODD_IN_LINES = re.compile(f"(?![\\n\\t])[{_CONTROL}{_INVISIBLE}{_SURROGATES}]")
_ODD_IN_DRAWING = re.compile(
    rf"\x1b\[[0-9;]*[mAK]|\x1b\[\?(?:25|1049)[hl]|(?![\n\t\r])[{_CONTROL}{_INVISIBLE}{_SURROGATES}]"
)
"""What Rich writes for colours and for a view that is drawn again and again comes first, and is left as it is."""


def visible(text: str) -> str:
    r"""The text on one line, with escapes such as `\n`, `\x1b` and `\u202e` for what nobody could see."""
    return _ODD.sub(_escape, text)


def visible_lines(text: str) -> str:
    """The same, but line ends and tabs stay."""
    return _ODD_IN_LINES.sub(_escape, text)


def visible_drawing(text: str) -> str:
    """The same for what Rich has drawn: its colours and the moves of its cursor stay too."""
    return _ODD_IN_DRAWING.sub(_escape, text)


def visible_json(text: str) -> str:
    r"""JSON with `\u` escapes for these characters, as JSON has them: whoever reads it gets the very same values."""
    return _ODD_IN_LINES.sub(_as_json, text)


def _as_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _escape(found: re.Match[str]) -> str:
    text = found[0]
    return text if len(text) > 1 else text.encode("unicode_escape", "surrogatepass").decode()
