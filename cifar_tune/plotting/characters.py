"""Names in scripts that the font of our pictures lacks: another font of this system has them, or they are escaped.

Class names are whatever people call their folders. Without this, matplotlib draws boxes and warns about each of them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from logging import ERROR, LogRecord, getLogger
from threading import get_ident

from matplotlib import font_manager
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter

from cifar_tune.visible import visible

FONT = "DejaVu Sans"
"""Comes with matplotlib."""

_PLACEHOLDERS = ("last resort", "adobe blank", "adobe notdef")
"""Fonts that claim to have every character."""

_PLAIN = ("sans", "gothic", "hei", "gulim", "dotum")
"""What families without serifs have in their names."""


def has_font(text: str) -> bool:
    """Whether fonts of this system have all characters of a text."""
    return visible(text) == text and not _fonts_for(set(text) - _characters(FONT))[1]


def make_readable(figure: Figure) -> str:
    """Give all texts of a figure fonts that have their characters; characters that no font has are escaped.

    Returns:
        A sentence on what was escaped; empty if nothing was.
    """
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    texts = figure.findobj(Text)
    used = set("".join([*(text.get_text() for text in texts), *_tick_labels(axes)])) - {"\n"}
    unseen = {character for character in used if visible(character) != character}
    lacking = used - _characters(FONT) - unseen
    if not lacking and not unseen:
        return ""
    families, escaped = _fonts_for(lacking)
    escaped |= unseen
    for text in texts:
        text.set_fontfamily([FONT, *families])
        if not escaped.isdisjoint(text.get_text()):
            text.set_text(_escape(text.get_text(), escaped))
    for axis in axes:
        if not escaped.isdisjoint("".join(_tick_labels([axis]))):
            axis.set_major_formatter(_Escaping(axis.get_major_formatter(), escaped))
    if not escaped:
        return ""
    example = min(escaped)
    return (
        f"no font of this system has some characters of the names; they are written as their Unicode numbers, such as "
        f"{_escape(example, escaped)}"
    )


@contextmanager
def quiet_fonts() -> Iterator[None]:
    """A context in which matplotlib does not tell this thread that a font has no bold face, say."""
    logger = getLogger("matplotlib.font_manager")
    thread = get_ident()

    def is_worth_it(record: LogRecord) -> bool:
        return record.thread != thread or record.levelno >= ERROR

    logger.addFilter(is_worth_it)
    try:
        yield
    finally:
        logger.removeFilter(is_worth_it)


class _Escaping(Formatter):
    """The labels of another formatter, with some characters as numbers."""

    def __init__(self, inner: Formatter, escaped: set[str]) -> None:
        self._inner = inner
        self._escaped = escaped

    def __call__(self, x: float, pos: int | None = None) -> str:
        return _escape(self._inner(x, pos), self._escaped)

    def format_ticks(self, values: list[float]) -> list[str]:
        return [_escape(label, self._escaped) for label in self._inner.format_ticks(values)]


def _tick_labels(axes: Iterable[Axis]) -> Iterator[str]:
    for axis in axes:
        yield from axis.get_major_formatter().format_ticks(list(axis.get_majorticklocs()))


def _escape(text: str, escaped: set[str]) -> str:
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode() if character in escaped else character
        for character in text
    )


def _fonts_for(characters: set[str]) -> tuple[list[str], set[str]]:
    """The names of font families that have them, and the characters that none has."""
    left = set(characters)
    families = []
    for family in _families():
        found = left & _characters(family)
        if found:
            families.append(family)
            left -= found
        if not left:
            break
    return families, left


def _families() -> list[str]:
    """The font families of this system, those without serifs first."""
    names = {entry.name for entry in font_manager.fontManager.ttflist}
    usable = [name for name in names if not name.lower().startswith(_PLACEHOLDERS)]
    return sorted(usable, key=lambda name: (not any(word in name.lower() for word in _PLAIN), name))


@lru_cache
def _characters(family: str) -> frozenset[str]:
    """What the font has in its normal and in its bold face; nothing where it cannot be used in pictures."""
    found = []
    for weight in ("normal", "bold"):
        face = font_manager.FontProperties(family=family, weight=weight)
        try:
            with quiet_fonts():
                font = font_manager.get_font(font_manager.findfont(face, fallback_to_default=False))
        except (OSError, RuntimeError, ValueError):  # removed since matplotlib listed it, or broken
            return frozenset()
        found.append(frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset[str]())
    return found[0] & found[1]
