"""What lists say of studies: budget, trials by state and the best value so far.

A list has dozens of studies, and most of them are small and of the plain kind. Of all such ones the database is asked
at once, and their specifications are not checked again. The others are looked at one by one.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence, Set
from threading import Lock
from typing import Any

from cifar_tune.errors import DamagedError, UserError
from cifar_tune.optuna_ended import best_of_studies, user_attribute_of_studies
from cifar_tune.optuna_questions import ids_of_studies, states_of_studies
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.service.submissions import SoFar
from cifar_tune.storage import attributes
from cifar_tune.storage.ended import best_ended
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.records import FINISHED
from cifar_tune.storage.stored_studies import ForeignStudyError, identities_of
from cifar_tune.study.budget import most_trials
from cifar_tune.web.reading import Studies, finite

_MOST = 5000
_FEW = 1000
"""Trials; the best of a larger study is found on its own."""

_NOTHING: Mapping[str, Any] = dict.fromkeys(("budget_trials", "objective", "direction", "best", "trouble"))
_UNTOLD: Mapping[str, Any] = {"counts": {}, "finished": 0, **_NOTHING}


class Summaries:
    """Those of the studies of a storage, kept as long as no trial of theirs begins or ends.

    Args:
        studies: of the storage.
    """

    def __init__(self, studies: Studies) -> None:
        self._studies = studies
        self._engine = studies.storage.engine
        self._kept: OrderedDict[int, tuple[object, dict[str, Any]]] = OrderedDict()
        self._lock = Lock()

    def of(self, ids: Mapping[str, int | None]) -> dict[str, dict[str, Any]]:
        """By name; a study without an id waits for its first run."""
        stored = {name: study for name, study in ids.items() if study is not None}
        by_study = states_of_studies(self._engine, stored.values()) if stored else {}
        counts = {
            name: {state.name: count for state, count in by_study.get(study, {}).items()}
            for name, study in stored.items()
        }
        identities = identities_of(self._engine, list(stored.values()))
        marks = {name: (name, identities.get(study), counts[name]) for name, study in stored.items()}
        told: dict[str, dict[str, Any]] = {}
        with self._lock:
            for name, study in stored.items():
                mark, kept = self._kept.get(study, (None, {}))
                if mark == marks[name]:
                    told[name] = kept
                    self._kept.move_to_end(study)
        new = {name: study for name, study in stored.items() if name not in told}
        plain = self._plain(new, {name for name in new if sum(counts[name].values()) > _FEW})
        for name in new:
            finished = sum(counts[name].get(state, 0) for state in FINISHED)
            counted = {"name": name, "counts": counts[name], "finished": finished}
            told[name] = counted | (plain[name] if name in plain else self._looked(name))
        with self._lock:
            for name, study in new.items():
                self._kept[study] = (marks[name], told[name])
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return {name: told.get(name, {"name": name, **_UNTOLD}) for name in ids}

    def so_far(self, names: Sequence[str]) -> Mapping[str, SoFar]:
        """How far studies of these names are; those that have not begun are left out."""
        told = self.of(ids_of_studies(self._engine, names))
        return {
            name: SoFar(
                each["finished"],
                each["counts"].get("RUNNING", 0),
                each["objective"],
                *((None, None) if each["best"] is None else (each["best"]["value"], each["best"]["number"])),
            )
            for name, each in told.items()
        }

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
                study = ids[name]
                best[study] = best_ended(self._studies.storage, study, is_max)
            for name, (study, objective, budget) in some.items():
                found = best.get(study)
                told[name] = {
                    **_NOTHING,
                    "budget_trials": budget,
                    "objective": objective["metric"],
                    "direction": direction,
                    "best": None if found is None else {"number": found[0], "value": finite(found[1])},
                }
        return told

    def _looked(self, name: str) -> dict[str, Any]:
        try:
            seen = self._studies.seen(name)
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


def _is_plain(spec: object) -> bool:
    """Whether a specification, as it is stored, is of the plain kind."""
    if not isinstance(spec, dict) or spec.get("constraints") or spec.get("repeats"):
        return False
    objective, budget, sampler = (spec.get(key) for key in ("objective", "budget", "sampler"))
    if not (isinstance(objective, dict) and isinstance(budget, dict) and isinstance(sampler, dict)):
        return False
    is_known = isinstance(objective.get("metric"), str) and objective.get("direction") in ("maximize", "minimize")
    return is_known and type(budget.get("trials")) is int and sampler.get("name") != "grid"
