"""What the service tells of studies, read from their tables with the code that `status` and `export` use.

All of it blocks, so that routes call it in threads. Many people look at the same pages, so answers are kept for as long
as nothing has changed, or for a second.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from optuna.trial import TrialState
from sqlalchemy.engine import URL

from cifar_tune.errors import UserError, nearest_name
from cifar_tune.optuna_ended import outline
from cifar_tune.optuna_questions import parts_of_unfinished, trial_ids
from cifar_tune.optuna_storage import BatchStorage, is_of_what_is_gone
from cifar_tune.optuna_studies import names_of_studies
from cifar_tune.optuna_tables import naming_damage
from cifar_tune.reports.best_config import resolved_config
from cifar_tune.reports.cache import Cache, Same
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.storage.ended import EndedTrials
from cifar_tune.storage.lease import held_lease
from cifar_tune.storage.overview import Overview, overview
from cifar_tune.storage.records import TrialRecord, trial_record
from cifar_tune.storage.stored_studies import identity_of, read_study_attributes
from cifar_tune.study.live import live, told_trial
from cifar_tune.study.status import described, described_or_why

_SECONDS = 1.0
"""So old may be what is told of a study that runs."""

_MOST_COMPARED = 1000
"""Names that a wrong one is compared with, letter by letter."""

_MOST_STUDIES = 200

_MOST_ENDED = 10


class Studies:
    """The studies of a storage.

    Args:
        storage: that holds them.
        url: of the storage.
    """

    def __init__(self, storage: BatchStorage, url: URL) -> None:
        self.storage = storage
        self.url = url
        self._ended = EndedTrials(storage, _MOST_STUDIES)
        self._seen: Cache[Overview] = Cache(_MOST_STUDIES, _SECONDS)
        self._statuses: Cache[dict[str, Any]] = Cache(_MOST_STUDIES)
        self._live: Cache[tuple[str, str]] = Cache(_MOST_STUDIES)

    def require(self, name: str) -> int:
        """The id of a study.

        Raises:
            UnknownStudyError: there is none of this name.
        """
        try:
            return self.storage.get_study_id_from_name(name)
        except KeyError:
            near = nearest_name(name, names_of_studies(self.storage.engine)[-_MOST_COMPARED:])
            raise UnknownStudyError(
                f"there is no study {name!r}{f' (did you mean {near!r}?)' if near else ''}"
            ) from None

    @contextmanager
    def while_it_is_there(self, name: str) -> Iterator[None]:
        """A block that reads a study which somebody else may delete at any moment.

        Raises:
            UnknownStudyError: it was deleted in between.
        """
        try:
            yield
        except (KeyError, UserError) as error:  # what is said of a number, and of a name, that is gone
            self.require(name)
            if isinstance(error, KeyError) and is_of_what_is_gone(error):  # it was run anew under its name
                raise UnknownStudyError(f"the study {name!r} was deleted or renamed a moment ago") from error
            raise

    def seen(self, name: str) -> Overview:
        """One study as it stands, or stood a second ago: what everything here is told from.

        Raises:
            UnknownStudyError: there is none of this name.
            UserError: another tool made it.
            DamagedError: what the database holds of it makes no sense.
        """
        study = self.require(name)
        return self._seen.get((study, name), lambda: self._moment(study, name), lambda: self.seen_now(name))

    def seen_now(self, name: str) -> Overview:
        """The same, of this moment."""
        return overview(self.storage, name, _MOST_ENDED, self._ended)

    def status(self, name: str) -> dict[str, Any]:
        """One study as `cifar-tune status --json` tells it.

        Raises:
            UnknownStudyError: there is none of this name.
            UserError: another tool made it.
            DamagedError: what the database holds of it makes no sense.
        """
        seen = self.seen(name)
        return self._statuses.get(name, lambda: Same(seen), lambda: self._status(seen))

    def _status(self, seen: Overview) -> dict[str, Any]:
        told: dict[str, Any] = finite(described(self.storage, seen))
        return told

    def status_or_why(self, name: str) -> dict[str, Any]:
        """The same of a study in a list: of one that cannot be read its name and why."""
        try:
            with self.while_it_is_there(name):
                return described_or_why(name, lambda: self.status(name))
        except UnknownStudyError as error:  # it was deleted a moment ago
            return {"name": name, "unreadable": str(error)}

    def live(self, name: str) -> tuple[str, str]:
        """A study as somebody who watches it needs it: JSON, and a mark that is another one if that is.

        Beside the status, it has the trials that run or are parked and those that ended last.

        Raises:
            UnknownStudyError: there is none of this name.
            UserError: another tool made it.
            DamagedError: what the database holds of it makes no sense.
        """
        seen = self.seen(name)
        return self._live.get(name, lambda: Same(seen), lambda: self._live_text(seen))

    def _live_text(self, seen: Overview) -> tuple[str, str]:
        told = live(self.storage, seen)
        text = json.dumps(finite(told))
        return mark_of(text), text

    def trials(
        self, name: str, first: int, most: int, states: Collection[TrialState] | None = None
    ) -> Sequence[dict[str, Any]]:
        """Trials by their numbers, from `first` on, with the values after each of their epochs.

        Raises:
            UnknownStudyError: there is no study of this name.
            UserError: another tool made it.
        """
        study = self.require(name)
        ids = trial_ids(self.storage.engine, study, first, most, states)
        return [finite(told_trial(trial)) for trial in self._records(name, study, ids)]

    def trial(self, name: str, number: int) -> dict[str, Any]:
        """One trial with its configuration, and all figures of all its epochs.

        Raises:
            UnknownStudyError: there is no such study, or no such trial in it.
        """
        record = self.trial_record(name, number)
        spec = read_study_attributes(self.storage, name)[1]
        return told_trial(record) | {
            "config": resolved_config(record, spec) if record.config else {},
            "history": {key: list(each) for key, each in record.history.items()},
            "measures": {key: list(each) for key, each in record.measures.items()},
            "metrics": dict(record.metrics),
            "parameters": record.parameters,
            "flops": record.flops,
            "precision": record.precision,
            "resumed_from": list(record.resumed_from),
        }

    def trial_record(self, name: str, number: int) -> TrialRecord:
        """The same as the database has it.

        Raises:
            UnknownStudyError: there is no such study, or no such trial in it.
        """
        study = self.require(name)
        found = self._records(name, study, trial_ids(self.storage.engine, study, number, 1))
        if not found or found[0].number != number:
            raise UnknownStudyError(f"the study {name!r} has no trial {number}")
        return found[0]

    def _records(self, name: str, study: int, ids: Sequence[int]) -> list[TrialRecord]:
        spec = read_study_attributes(self.storage, name)[1]
        with naming_damage(name):
            stored = self.storage.read_trials(study, ids=ids) if ids else []
            return sorted((trial_record(trial, spec) for trial in stored), key=lambda trial: trial.number)

    def _moment(self, study: int, name: str) -> object:
        """Something that is the same as long as nothing changes that a status tells."""
        with naming_damage(name):
            trials = outline(self.storage.engine, study)
        held = held_lease(self.storage.engine, name)
        attrs = self.storage.get_study_user_attrs(study)
        return (
            sorted((state.name, count) for state, count in trials.counts.items()),
            parts_of_unfinished(self.storage.engine, study) if trials.unfinished else (0, 0),
            None if held is None else (str(held.owner), held.is_free),
            len(attrs),
            identity_of(self.storage.engine, study, attrs),
        )


def mark_of(text: str) -> str:
    """Something short that is another one if the text is."""
    return sha256(text.encode()).hexdigest()[:16]


def finite(value: Any) -> Any:
    """The same without NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value
