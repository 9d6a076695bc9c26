"""The queue as JSON. The text of each submission is kept with what it was made from, and joined with the others."""

from collections import OrderedDict
from dataclasses import dataclass, fields, replace
from threading import Lock
from typing import Any

from cifar_tune.plain_rows import PlainRows
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.submissions import SoFar, Submission, of_row
from cifar_tune.web.models.queueing import told
from cifar_tune.web.summaries import Summaries


@dataclass(frozen=True, slots=True)
class _Kept:
    row: tuple[Any, ...]
    so_far: SoFar | None
    text: bytes


@dataclass(frozen=True, slots=True)
class _Whole:
    """An answer, and what it was made from."""

    rows: PlainRows
    so_far: list[SoFar | None]
    text: bytes


class QueueTexts:
    """That of the queue of a server, as different people may see it.

    Args:
        summaries: of its studies.
    """

    def __init__(self, summaries: Summaries) -> None:
        self._summaries = summaries
        self._kept: dict[tuple[int, bool], _Kept] = {}
        self._whole: OrderedDict[tuple[str, ...], _Whole] = OrderedDict()
        self._lock = Lock()

    def of(self, desk: StorageDesk) -> bytes:
        """The answer `Queue` as whoever sits at the desk sees it.

        Args:
            desk: at which somebody asks.

        Raises:
            NotAllowedError: they may not see studies.
        """
        rows = desk.queue_rows()
        hides = {owner: not desk.sees_all_of(owner) for owner in {row[_OWNER] for row in rows}}
        so_far = self._summaries.so_far([row[_STUDY] for row in rows]) if rows else {}
        all_stand = [so_far.get(row[_STUDY]) for row in rows]
        hidden = tuple(sorted(owner for owner, is_hidden in hides.items() if is_hidden))
        texts = []
        with self._lock:
            whole = self._whole.get(hidden)
            if whole is not None and whole.rows == rows and whole.so_far == all_stand:
                self._whole.move_to_end(hidden)
                return whole.text
            for row, stands in zip(rows, all_stand, strict=True):
                key = row[_ID], hides[row[_OWNER]] and row[_NOTIFY] not in _NOBODY
                kept = self._kept.get(key)
                if kept is None or kept.row != row or kept.so_far is not stands:
                    shown = replace(desk.shown(of_row(row)), so_far=stands)
                    text = told(shown, with_text=False).model_dump_json().encode()
                    kept = self._kept[key] = _Kept(row, stands, text)
                texts.append(kept.text)
            if len(self._kept) > 2 * len(rows) + _SPARE:
                living = {row[_ID] for row in rows}
                self._kept = {key: kept for key, kept in self._kept.items() if key[0] in living}
            text = b'{"submissions":[%b]}' % b",".join(texts)
            self._whole[hidden] = _Whole(rows, all_stand, text)
            self._whole.move_to_end(hidden)
            while len(self._whole) > _MOST_WHOLE:
                self._whole.popitem(last=False)
        return text


_SPARE = 100
_MOST_WHOLE = 4
"""Whole answers that are kept: by the owners whose addresses are hidden in them."""

_ID, _STUDY, _OWNER = 0, 1, 2
_NOTIFY = [each.name for each in fields(Submission)].index("notify")
"""Places in a row."""

_NOBODY: tuple[object, ...] = ("[]", [])
"""Addresses that nobody needs to hide, as text and as it stands."""
