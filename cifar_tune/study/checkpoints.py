"""Which checkpoints are kept: those of trials that go on, and those of the best."""

import re
import shutil
from collections.abc import Sequence, Set

from optuna.trial import FrozenTrial

from cifar_tune.storage.selection import best_trials
from cifar_tune.storage.urls import artifacts_folder, checkpoint_file
from cifar_tune.study_spec.specification import StudySpec

KEPT_BEST = 3
_NUMBER = re.compile(r"^trial-(\d+)\.pt$")


def sweep(
    spec: StudySpec, trials: Sequence[FrozenTrial], unwritten: Set[int] = frozenset(), half_written: bool = False
) -> None:
    """Delete the checkpoints of finished trials that are not among the best, or not on the Pareto front.

    Those of trials whose end does not stand in the database yet (`unwritten`) are the only record of it, and stay.
    With `half_written`, what killed processes left in the middle of writing too: only while no executor writes.
    """
    folder = checkpoint_file(spec.name, 0).parent
    if not folder.is_dir():
        return
    best = best_trials(trials, spec.objectives, spec.constraints)
    kept = {trial.number for trial in (best if spec.has_several_objectives else best[:KEPT_BEST])}
    kept |= {trial.number for trial in trials if not trial.state.is_finished()} | unwritten
    for file in folder.iterdir():
        match = _NUMBER.match(file.name)
        if (match and int(match.group(1)) not in kept) or (match is None and half_written):
            file.unlink(missing_ok=True)


def delete_artifacts(study: str) -> None:
    """Delete everything that a study keeps outside of the database."""
    shutil.rmtree(artifacts_folder() / study, ignore_errors=True)
