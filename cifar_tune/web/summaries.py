"""What lists say of studies: budget, trials by state and the best value so far.

A list has dozens of studies, and most of them are small and of the plain kind. Of all such ones the database is asked
at once, and their specifications are not checked again. The others are looked at one by one.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Set
from dataclasses import dataclass
from threading import Lock
from typing import Any

from cifar_tune.errors import DamagedError, UserError
from cifar_tune.optuna_ended import best_of_studies, user_attribute_of_studies
from cifar_tune.service.newest_submissions import NewestSubmissions
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.service.submissions import SoFar
from cifar_tune.storage import attributes
from cifar_tune.storage.counts import Counts, Looked, TrialCounts
from cifar_tune.storage.ended import best_ended
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.records import FINISHED
from cifar_tune.storage.stored_studies import ForeignStudyError
from cifar_tune.study.budget import most_trials
from cifar_tune.web.reading import Studies, finite

_MOST = 5000
_FEW = 1000
"""Trials; the best of a larger study is found on its own."""

_NOTHING: Mapping[str, Any] = dict.fromkeys(("budget_trials", "objective", "direction", "best", "trouble"))
_UNTOLD: Mapping[str, Any] = {"counts": {}, "finished": 0, **_NOTHING}


_Mark = tuple[str, Hashable, Counts]
"""Name, identity and numbers of trials: what is told of a study is the same as long as they are."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is told of a study as long as its mark is the same. It is given to many: nobody changes it."""

    mark: _Mark | None
    told: dict[str, Any]
    so_far: SoFar | None


class Summaries:
    """Those of the studies of a storage, kept as long as no trial of theirs begins or ends.

    Attributes:
        submitted: the newest submission of each study.

    Args:
        studies: of the storage.
    """

    def __init__(self, studies: Studies) -> None:
        self._studies = studies
        self._engine = studies.storage.engine
        self.submitted = NewestSubmissions()
        self._counts = TrialCounts(self._engine)
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._lock = Lock()

    def look(self) -> Looked:
        """The studies of the storage as they stand, for `of`."""
        return self._counts.look()

    def of(self, names: Iterable[str], looked: Looked | None = None) -> dict[str, dict[str, Any]]:
        """By name; what is told of a study that nobody knows is that it waits for its first run.

        Args:
            names: of the studies.
            looked: what `look` has returned a moment ago.
        """
        return {name: each.told for name, each in self._of(names, looked).items()}

    def so_far(self, names: Iterable[str]) -> Mapping[str, SoFar]:
        """How far studies of these names are; those that have not begun are left out."""
        found = self._of(names).items()
        return {name: each.so_far for name, each in found if each.so_far is not None}

    def _of(self, names: Iterable[str], looked: Looked | None = None) -> dict[str, "_Kept"]:
        looked = looked or self.look()
        stored = {name: looked.ids.get(name) for name in names}
        counts = looked.counts_of([study for study in stored.values() if study is not None])
        found: dict[str, _Kept] = {}
        new: dict[str, tuple[int, _Mark]] = {}
        damaged: list[str] = []
        with self._lock:
            kept, used = self._kept, self._kept.move_to_end
            for name, study in stored.items():
                if study is None:
                    found[name] = _Kept(None, {"name": name, **_UNTOLD}, None)
                    continue
                if study not in counts:
                    damaged.append(name)
                    continue
                mark, known = (name, looked.identities.get(study), counts[study]), kept.get(study)
                if known is not None and known.mark == mark:
                    found[name] = known
                    used(study)
                else:
                    new[name] = study, mark
        for name in damaged:
            found[name] = _Kept(None, {"name": name, **_UNTOLD, **self._looked(name, {})}, None)
        if not new:
            return found
        large = {name for name, (study, _) in new.items() if sum(counts[study].values()) > _FEW}
        plain = self._plain({name: study for name, (study, _) in new.items()}, large)
        for name, (study, mark) in new.items():
            finished = sum(counts[study].get(state, 0) for state in FINISHED)
            counted = {"name": name, "counts": dict(counts[study]), "finished": finished}
            told = counted | (plain[name] if name in plain else self._looked(name, counts[study]))
            found[name] = _Kept(mark, told, _so_far(told))
        with self._lock:
            for name, (study, _) in new.items():
                self._kept[study] = found[name]
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return {name: found[name] for name in stored}

    def _plain(self, ids: Mapping[str, int], large: Set[str]) -> dict[str, dict[str, Any]]:
        """Of those with one objective alone, whose best trial is the one with the best value."""
        specs = user_attribute_of_studies(self._engine, list(ids.values()), attributes.SPEC) if ids else {}
        objectives = {
            name: (study, specs[study]["objective"], specs[study]["budget"]["trials"])
            for name, study in ids.items()
            if parent_of(name) is None and _is_plain(specs.get(study))
        }
        told: dict[str, dict[str, Any]] = {}
        for direction in ("maximize", "minimize"):
            some = {name: each for name, each in objectives.items() if each[1]["direction"] == direction}
            is_max = direction == "maximize"
            small = [study for name, (study, _, _) in some.items() if name not in large]
            best: dict[int, tuple[int, float] | None] = {}
            if small:
                best |= best_of_studies(self._engine, small, is_max, attributes.CONFIG, attributes.REASON, "repeated")
            for name in some.keys() & large:
                try:
                    found = best_ended(self._studies.storage, ids[name], is_max)
                except (KeyError, DamagedError):  # whoever looks at it alone says what has become of it
                    del some[name]
                    continue
                if found is not None:
                    best[ids[name]] = found
            for name, (study, objective, budget) in some.items():
                found = best.get(study)
                if found is None and study in best:
                    continue  # likewise
                told[name] = {
                    **_NOTHING,
                    "budget_trials": budget,
                    "objective": objective["metric"],
                    "direction": direction,
                    "best": None if found is None else {"number": found[0], "value": finite(found[1])},
                }
        return told

    def _looked(self, name: str, counts: Counts) -> dict[str, Any]:
        try:
            seen = self._studies.seen(name)
            if seen.counts != counts:
                seen = self._studies.seen_now(name)  # the other one is a second old, and this is kept for longer
        except ForeignStudyError:
            return {**_NOTHING, "trouble": "it was not made by cifar-tune"}
        except (UserError, DamagedError, UnknownStudyError) as error:
            return {**_NOTHING, "trouble": str(error)}
        except KeyError:  # what Optuna says of a number that is gone
            return {**_NOTHING, "trouble": "it was deleted a moment ago"}
        best = None if parent_of(name) is not None else seen.best
        return {
            "budget_trials": most_trials(seen.spec, seen.strangers),
            "objective": seen.spec.objective.metric,
            "direction": seen.spec.objective.direction,
            "best": None if best is None else {"number": best.number, "value": finite(best.value)},
            "trouble": None,
        }


def _so_far(told: Mapping[str, Any]) -> SoFar:
    best = told["best"] or {}
    running = told["counts"].get("RUNNING", 0)
    return SoFar(told["finished"], running, told["objective"], best.get("value"), best.get("number"))


def _is_plain(spec: object) -> bool:
    """Whether a specification, as it is stored, is of the plain kind."""
    if not isinstance(spec, dict) or spec.get("constraints") or spec.get("repeats"):
        return False
    objective, budget, sampler = (spec.get(key) for key in ("objective", "budget", "sampler"))
    if not (isinstance(objective, dict) and isinstance(budget, dict) and isinstance(sampler, dict)):
        return False
    is_known = isinstance(objective.get("metric"), str) and objective.get("direction") in ("maximize", "minimize")
    return is_known and type(budget.get("trials")) is int and sampler.get("name") != "grid"
