"""Importances of studies that run, as several people look at them: those of a long study take seconds.

The pages, `/v1` and optuna-dashboard all tell these. They rest on completed trials alone, and of these on what
importances look at, without what the trials have reported; means of `repeats` are made of whole trials.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from optuna.trial import TrialState

from cifar_tune.memory import uncollected
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import Parts, naming_damage
from cifar_tune.reports.beside import Beside
from cifar_tune.reports.cache import Cache
from cifar_tune.reports.importances import OF_LINKED, Importances, importances, importances_of_each
from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import was_finished_elsewhere
from cifar_tune.storage.damage import check_configurations, check_values
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.records import StudyRecord, load_record, trial_record
from cifar_tune.storage.stored_studies import load_optuna_study, read_spec, while_it_is_there

_MOST = 200
FEW = 1000
"""Importances of so many completed trials are made while somebody waits for them."""

_COMPARED_BY = Parts(times=False, reports=False, user=(attributes.REASON, attributes.CONFIG))
"""What importances look at."""


@dataclass(frozen=True, slots=True)
class Found:
    """The importances of a study.

    Attributes:
        all: for the study as a whole, or the sentence that says why there are none.
        each: the shares for each objective alone; empty ones where there are none.
    """

    all: Importances | str
    each: Sequence[Mapping[str, float]]


class KeptImportances:
    """Those of the studies of a storage, kept as long as they are right; of a long study, or nearly so.

    Args:
        storage: that holds the studies.
        making: is held while importances are made, since each takes a core.
    """

    def __init__(self, storage: BatchStorage, making: Lock) -> None:
        self._storage = storage
        self._making = making
        self._small: Cache[Found] = Cache(_MOST)
        self._large: Beside[Found] = Beside(_MOST)

    def get(self, study: int, name: str, identity: Hashable, completed: int, waits: bool = False) -> Found | None:
        """The importances so far; None where those of a long study are being made for the first time.

        Args:
            study: its id.
            name: its name.
            identity: see `stored_studies.identity_of`.
            completed: how many trials have completed.
            waits: whether to wait for those of a long study.

        Raises:
            UserError: another tool made the study, or it was deleted.
            DamagedError: what the database holds of it makes no sense.
        """
        if completed > FEW:  # among so many, another hundredth changes little
            mark = round(math.log(completed) * 100)
            return self._large.get((study, name, identity), mark, lambda: self._made(name), waits)
        return self._small.get((study, name, identity), lambda: completed, lambda: self._made(name))

    def _made(self, name: str) -> Found:
        with self._making, while_it_is_there(self._storage, name):
            return _found(self._storage, name)


def _found(storage: BatchStorage, name: str) -> Found:
    study = load_optuna_study(storage, name)
    spec = read_spec(study)
    if parent_of(name) is not None:
        return Found(OF_LINKED, [{} for _ in spec.objectives])
    if spec.repeats is not None:
        record = load_record(storage, name)
    else:
        with naming_damage(name), uncollected():
            trials = storage.read_trials(
                storage.get_study_id_from_name(name), (TrialState.COMPLETE,), parts=_COMPARED_BY
            )
            check_values(trials, len(spec.objectives))
            check_configurations(trials, spec)
        record = StudyRecord(
            name=name,
            spec=spec,
            environment={},
            data={},
            elapsed_seconds=0.0,
            openings=(),
            trials=[trial_record(each, spec) for each in trials],
            completed=[trial for trial in trials if not was_finished_elsewhere(trial)],
            study=study,
        )
    found = importances(record)
    if spec.has_several_objectives:
        return Found(found, importances_of_each(record))
    return Found(found, [found.shares if isinstance(found, Importances) else {}])
