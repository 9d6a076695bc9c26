"""In what the images here differ from those of a bundle, as far as `split.csv` and the names of files tell."""

import csv
import io
from collections.abc import Mapping, Sequence

from cifar_tune.csv_text import as_named
from cifar_tune.wording import counted

_NAMED = 3
_Images = Mapping[str, tuple[str, str]]
"""By file: its split and its class."""


def difference(theirs: bytes, ours: bytes) -> str:
    """What differs, as a clause; empty where nobody can tell.

    Args:
        theirs: `split.csv` of the bundle.
        ours: as it would be with the images here.
    """
    try:
        there, here = _images(theirs), _images(ours)
    except (csv.Error, KeyError, TypeError):
        return ""
    if there is None or here is None:
        counts = [max(0, content.count(b"\n") - 1) for content in (theirs, ours)]
        if counts[0] == counts[1]:
            return ""
        return f"the bundle has {counted(counts[0], 'image')}, and there are {counts[1]:,} here"
    shared = there.keys() & here.keys()
    groups = (
        ("not here", sorted(there.keys() - shared)),
        ("here and not in the bundle", sorted(here.keys() - shared)),
        ("here in another class", sorted(name for name in shared if there[name][1] != here[name][1])),
        ("here in another split", sorted(name for name in shared if there[name][0] != here[name][0])),
    )
    said = [f"{_named(names)} {'is' if len(names) == 1 else 'are'} {what}" for what, names in groups if names]
    return "; ".join(said) or "the files have the same names, so some hold other pictures"


def _images(content: bytes) -> _Images | None:
    """None where the images have no files of their own."""
    text = content.decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not all(row["file"] for row in rows):
        return None
    return {as_named(row["file"]): (row["split"], row["class"]) for row in rows}


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
