"""Names of classes that people cannot tell apart, or that are not text at all."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

from cifar_tune.errors import Problem, UserError, enumerate_names

_NAMED = 10
"""Names in one message; the others are counted."""


def require_text(folder: Path, names: Iterable[str]) -> None:
    """Check that the names of class folders are text, since they go into files and databases.

    Raises:
        UserError: names are not UTF-8; suggests what they may have been meant to be.
    """
    problems = [
        Problem(
            "the name of a class must be UTF-8 text, and this one is not: rename the folder",
            source=f"{folder}: {os.fsencode(name)!r}",
            nearest=os.fsencode(name).decode("cp1252", "replace"),
        )
        for name in names
        if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name)
    ]
    if problems:
        raise UserError(problems[:_NAMED])


def lookalikes(folder: Path, names: Iterable[str]) -> list[str]:
    """Notes on classes whose names differ in no more than case, or in forms of the same characters.

    Raises:
        UserError: names look the same: they differ in their Unicode normal form, or in what cannot be seen.
    """
    notes, problems = [], []
    for first, second in _alike(names):
        words = f"{pair(first, second)} differ only in {likeness(first, second)}"
        if _seen(first) == _seen(second):
            problems.append(Problem(f"the class folders {words}: merge or rename them", source=str(folder)))
        else:
            notes.append(f"the classes {words}: they are two classes")
    if problems:
        raise UserError(problems[:_NAMED])
    return notes


def label_notes(source: str, labels: Sequence[str]) -> list[str]:
    """Notes on labels of a table or an array that are much alike.

    Args:
        source: where they stand, for messages.
        labels: different ones.

    Raises:
        UserError: a label is empty or no text, or two look the same to people.
    """
    notes, problems = [], []
    for label in labels:
        if not _seen(label):
            problems.append(Problem(f"the label {label!r} is empty: give every image a label", source=source))
        elif any("\ud800" <= character <= "\udfff" for character in label):
            problems.append(Problem(f"the label {label!a} is no text: save the labels as UTF-8", source=source))
    for first, second in _alike(labels):
        words = f"{pair(first, second)} differ only in {likeness(first, second)}"
        if _seen(first) == _seen(second):
            problems.append(Problem(f"the labels {words}: write both in the same way", source=source))
        else:
            notes.append(f"the classes {words}: they are two classes")
    if problems:
        raise UserError(problems[:_NAMED])
    return notes


def counterparts(classes: Sequence[str], present: Sequence[str]) -> dict[str, str]:
    """For each class the folder that means it: of the same name, or of the same text in another Unicode normal form.

    Copying between systems changes the normal form, so that one is no difference. Classes without a folder are left
    out.
    """
    by_form: dict[str, list[str]] = {}
    for name in present:
        by_form.setdefault(unicodedata.normalize("NFC", name), []).append(name)
    found = {}
    for name in classes:
        same = by_form.get(unicodedata.normalize("NFC", name), [])
        if name in same:
            found[name] = name
        elif len(same) == 1:
            found[name] = same[0]
    return found


def likeness(first: str, second: str) -> str | None:
    """In what alone two names differ that look much the same; None where they look different."""
    if unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second):
        return "their Unicode normal form"
    if _seen(first) == _seen(second):
        return "spaces, or characters that cannot be seen"
    if _seen(first).casefold() == _seen(second).casefold():
        return "upper and lower case"
    return "forms of the same characters" if _key(first) == _key(second) else None


def pair(first: str, second: str) -> str:
    """Both names, so that their difference can be seen."""
    show = ascii if unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second) else repr
    return f"{show(first)} and {show(second)}"


def listed(names: Sequence[str]) -> str:
    """The names in quotes, the first of them where they are many."""
    shown = [repr(name) for name in names[:_NAMED]]
    more = len(names) - _NAMED
    return enumerate_names([*shown, f"{more:,} more"] if more > 0 else shown, "and")


def _alike(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_key(name), []).append(name)
    for group in groups.values():
        yield from combinations(group, 2)


def _seen(name: str) -> str:
    """What people see of it: without spaces at its ends and characters of no width."""
    visible = (character for character in name if unicodedata.category(character) not in ("Cc", "Cf"))
    return unicodedata.normalize("NFC", " ".join("".join(visible).split()))


def _key(name: str) -> str:
    """Equal for names that are much alike."""
    return unicodedata.normalize("NFKC", _seen(name)).casefold()
