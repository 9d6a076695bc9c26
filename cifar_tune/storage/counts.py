"""How many trials each study has in each state, for whoever lists many studies again and again.

To count all trials takes a database longer the more there are. So they are counted once, and from then on only those
are read that are new or had not ended. Trials that have ended never change.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import Engine

from cifar_tune.optuna_counts import Counted, count_all, count_since, studies_with
from cifar_tune.optuna_ended import oldest_trials
from cifar_tune.optuna_questions import states_of_studies
from cifar_tune.optuna_tables import SenselessError
from cifar_tune.plain_rows import MadeOfRows, PlainRows
from cifar_tune.storage import attributes

Counts = Mapping[str, int]
"""How many trials are in each state, by the name of the state, in the order of these names."""

_MOST_UNFINISHED = 5000
"""Trials that have not ended. With more of them, all trials are counted each time."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The studies of a database at some moment.

    Attributes:
        ids: by their names, the newest first.
        identities: by their ids; as `stored_studies.identity_of`, what no other study with this id ever has.
    """

    ids: Mapping[str, int]
    identities: Mapping[int, Hashable]
    _counts: Mapping[int, Counts] | None
    _engine: Engine

    def counts_of(self, studies: Collection[int]) -> dict[int, Counts]:
        """How many trials the studies with these ids have in each state.

        Left out are those with a trial whose state cannot be read.
        """
        if self._counts is not None:
            return {study: self._counts.get(study, {}) for study in studies}
        if not studies:
            return {}
        try:
            found = states_of_studies(self._engine, studies)
        except SenselessError:
            if len(studies) == 1:
                return {}
            some = list(studies)
            half = len(some) // 2
            return self.counts_of(some[:half]) | self.counts_of(some[half:])
        return {study: _in_order({each.name: n for each, n in found.get(study, {}).items()}) for study in studies}


@dataclass(slots=True)
class _Known:
    """What was counted of one study: `highest` is the highest id of a trial of it that was."""

    identity: Hashable
    counts: dict[str, int] = field(default_factory=dict)
    highest: int = -1


@dataclass(frozen=True, slots=True)
class _Stored:
    """The studies of a database without their trials.

    Attributes:
        ids: by their names, the newest first.
        identities: by their ids; the text that is stored, as JSON.
        others: those of an early version, which stored none; there it is the beginning of the study.
    """

    ids: Mapping[str, int]
    identities: Mapping[int, Hashable]
    others: Sequence[int]


def _stored(rows: PlainRows) -> _Stored:
    return _Stored(
        {name: study for study, name, _ in rows},
        {study: text for study, _, text in rows if text is not None},
        [study for study, _, text in rows if text is None],
    )


class TrialCounts:
    """Those of the studies of a database. Several threads may ask.

    Args:
        engine: of the database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._stored = MadeOfRows(_stored)
        self._was_asked = False
        self._known: dict[int, _Known] | None = None
        self._total = 0
        self._highest = -1
        self._counted: Mapping[int, Hashable] | None = None
        self._unfinished: dict[int, tuple[int, str]] = {}

    def look(self) -> Looked:
        """The studies as they stand. Whoever looks once counts the trials of those alone that are asked for."""
        with self._lock:
            stored = self._stored.of(studies_with(self._engine, attributes.IDENTITY))
            identities = stored.identities
            if stored.others:
                identities = {**identities, **oldest_trials(self._engine, stored.others)}
            if self._was_asked:
                self._count(identities)
            self._was_asked = True
            counts = None if self._known is None else {study: each.counts for study, each in self._known.items()}
        return Looked(stored.ids, identities, counts, self._engine)

    def _count(self, identities: Mapping[int, Hashable]) -> None:
        try:
            if self._known is None or len(self._unfinished) > _MOST_UNFINISHED or not self._add(identities):
                self._known, self._unfinished, self._total, self._highest = {}, {}, 0, -1
                for each in count_all(self._engine):
                    self._take(each, identities)
            # a study that came after they were read may be gone by the next look, which then compares all of them
            self._counted = identities if self._known.keys() <= identities.keys() else None
        except SenselessError:  # a study is damaged; those that nobody asks for are no matter
            self._known, self._unfinished = None, {}
        except BaseException:
            self._known, self._unfinished = None, {}
            raise

    def _add(self, identities: Mapping[int, Hashable]) -> bool:
        """Count what has come since; False where that does not explain how many there are now.

        SQLite gives the ids of deleted studies and trials again. These are higher than those of all that stay.
        """
        assert self._known is not None  # noqa: S101 (for the type checker)
        known = self._known
        if identities is not self._counted:  # else the studies are those of the last look
            gone = (s for s, each in known.items() if s not in identities or identities[s] != each.identity)
            self._forget(set(gone))
        found, total = count_since(self._engine, self._highest, self._unfinished)
        for each in found:
            before = self._unfinished.pop(each.highest, None)
            if before is not None:
                if before[0] != each.study:
                    return False
                self._total -= 1
                counts = known[each.study].counts
                if counts[before[1]] == 1:
                    known[each.study].counts = {state: n for state, n in counts.items() if state != before[1]}
                else:
                    known[each.study].counts = {**counts, before[1]: counts[before[1]] - 1}
            self._take(each, identities)
        return total == self._total

    def _forget(self, gone: Collection[int]) -> None:
        assert self._known is not None  # noqa: S101 (for the type checker)
        for study in gone:
            self._total -= sum(self._known.pop(study).counts.values())
        if gone:
            self._unfinished = {trial: each for trial, each in self._unfinished.items() if each[0] not in gone}
            self._highest = max((each.highest for each in self._known.values()), default=-1)

    def _take(self, found: Counted, identities: Mapping[int, Hashable]) -> None:
        assert self._known is not None  # noqa: S101 (for the type checker)
        known = self._known.setdefault(found.study, _Known(identities.get(found.study)))
        self._total += found.count
        state = found.state.name
        known.counts = _in_order({**known.counts, state: known.counts.get(state, 0) + found.count})
        known.highest = max(known.highest, found.highest)
        self._highest = max(self._highest, found.highest)
        if not found.state.is_finished():
            self._unfinished[found.highest] = found.study, state


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))
