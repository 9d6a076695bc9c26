"""Which checkpoints are kept: those of trials that go on, and those of the best."""

import re
import shutil
from collections.abc import Sequence, Set

from optuna.trial import FrozenTrial, TrialState

from cifar_tune.storage.urls import artifacts_folder, checkpoint_file

KEPT_BEST = 3
_NUMBER = re.compile(r"^trial-(\d+)\.pt$")


def sweep(
    study: str,
    trials: Sequence[FrozenTrial],
    maximize: bool,
    unwritten: Set[int] = frozenset(),
    half_written: bool = False,
) -> None:
    """Delete the checkpoints of finished trials that are not among the best.

    Those of trials whose end does not stand in the database yet (`unwritten`) are the only record of it, and stay.
    With `half_written`, what killed processes left in the middle of writing too: only while no executor writes.
    """
    folder = checkpoint_file(study, 0).parent
    if not folder.is_dir():
        return
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    complete.sort(key=lambda trial: trial.value or 0.0, reverse=maximize)
    kept = {trial.number for trial in complete[:KEPT_BEST]}
    kept |= {trial.number for trial in trials if not trial.state.is_finished()} | unwritten
    for file in folder.iterdir():
        match = _NUMBER.match(file.name)
        if (match and int(match.group(1)) not in kept) or (match is None and half_written):
            file.unlink(missing_ok=True)


def delete_artifacts(study: str) -> None:
    """Delete everything that a study keeps outside of the database."""
    shutil.rmtree(artifacts_folder() / study, ignore_errors=True)
