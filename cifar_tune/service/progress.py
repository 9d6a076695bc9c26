"""What the database says of the trials of studies, for the server: three figures per study in one query."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from optuna.trial import TrialState
from sqlalchemy import Connection, func, select

from cifar_tune.optuna_tables import REPORTS, STUDIES, TRIALS
from cifar_tune.wording import counted

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study is.

    Attributes:
        running: trials that executors train.
        ended: trials that count against the budget.
        epochs: epochs and trials that have ended, all together: more of them is progress.
    """

    running: int = 0
    ended: int = 0
    epochs: int = 0


def progress_of(connection: Connection, studies: Collection[str]) -> Mapping[str, Progress]:
    """How far each of these studies is; those that have not begun are not in it."""
    if not studies:
        return {}
    of_study = TRIALS.join(STUDIES, STUDIES.c.study_id == TRIALS.c.study_id)
    named = STUDIES.c.study_name.in_(sorted(studies))
    states = (
        select(STUDIES.c.study_name, TRIALS.c.state, func.count())
        .select_from(of_study)
        .where(named)
        .group_by(STUDIES.c.study_name, TRIALS.c.state)
    )
    reports = (
        select(STUDIES.c.study_name, func.count())
        .select_from(of_study.join(REPORTS, REPORTS.c.trial_id == TRIALS.c.trial_id))
        .where(named)
        .group_by(STUDIES.c.study_name)
    )
    counts: dict[str, dict[TrialState, int]] = {}
    for name, state, count in connection.execute(states):
        counts.setdefault(name, {})[state] = count
    epochs = {name: int(count) for name, count in connection.execute(reports)}
    found = {}
    for name, by_state in counts.items():
        ended = sum(by_state.get(state, 0) for state in _ENDED)
        found[name] = Progress(by_state.get(TrialState.RUNNING, 0), ended, epochs.get(name, 0) + ended)
    return found


def used_up(connection: Connection, study: str, trials: int) -> tuple[str, ...]:
    """What to say of a study that has all of its trials already; nothing of others."""
    ended = progress_of(connection, [study]).get(study, Progress()).ended
    if ended < trials:
        return ()
    return (
        f"{study} has {ended:,} of {counted(trials, 'trial')} already, so it trains nothing; for more of them, submit "
        f"it with a larger budget, such as --set budget.trials={2 * trials}",
    )
