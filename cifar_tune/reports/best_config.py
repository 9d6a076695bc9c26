"""`best.yaml`: the complete configuration that a study has come to, ready for `cifar-tune train`.

That is the configuration of the trial that won the race of `finalize`; without a race, of the best trial.
"""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study.race_result import RaceResult
from cifar_tune.study_spec.metrics import METRICS, exactly
from cifar_tune.study_spec.specification import StudySpec, plain_values
from cifar_tune.study_spec.yaml_writer import yaml_text
from cifar_tune.visible import visible

BEST_FILE = "best.yaml"
"""Its name in every export."""


def best_yaml(record: StudyRecord, chosen: TrialRecord, path: Path, race: RaceResult | None = None) -> str:
    """The text of the file, which will lie at `path`. Numbers keep every digit.

    Args:
        record: the study.
        chosen: the trial that won the race; else the best one.
        path: of the file.
        race: of `finalize`, where it has decided; else None.
    """
    if race is None:
        return trial_yaml(record, chosen, path, "The best configuration of")
    spec, best = record.spec, record.best
    metric = spec.objective.metric
    more = (
        []
        if race.mean is None
        else [f"in the race: {metric} = {exactly(metric, race.mean)}, the mean of fresh trainings"]
    )
    if best is not None and best.number != chosen.number:
        of_best = exactly(metric, best.values[0])
        more.append(f"the best trial of the study by its own value, trial {best.number} with {of_best}, is another one")
    return trial_yaml(record, chosen, path, "The winner of the race among the best trials of", more)


def trial_yaml(record: StudyRecord, trial: TrialRecord, path: Path, what: str, more: Sequence[str] = ()) -> str:
    """The text of a trial's file, which will lie at `path`; `what` it is of the study, and what `more` to say of it."""
    header = "".join(f"# {visible(line)}\n" for line in _header(record, trial, path, what, more))
    # what is left out takes its default, and a data source may refuse a key that it does not have
    data = record.spec.data_of(trial.repeat).model_dump(mode="json")
    data = {key: value for key, value in data.items() if value is not None}
    if "resize" not in data and record.spec.data.can_be_resized:
        data["resize"] = record.data.get("resize")  # what the shapes of the images led to
    plugins = [plugin.reference for plugin in record.spec.plugins]
    metrics = [name for name in record.spec.metrics if name not in METRICS]  # those that `train` does not always show
    sections = {"data": data, "metrics": metrics, "plugins": plugins, "train": resolved_config(trial, record.spec)}
    return header + yaml_text({section: content for section, content in sections.items() if content})


def resolved_config(trial: TrialRecord, spec: StudySpec) -> dict[str, Any]:
    """Every knob of a study's trial as it stands in a file; `precision` as it came out on the device."""
    return plain_values(trial.configuration(spec.vocabulary))


def _header(record: StudyRecord, trial: TrialRecord, path: Path, what: str, more: Sequence[str]) -> list[str]:
    values = ", ".join(
        f"{objective.metric} = {exactly(objective.metric, value)} (to {objective.direction})"
        for objective, value in zip(record.spec.objectives, trial.values, strict=True)
    )
    repeated = trial.repeated
    where = [f"{values}, on the validation split"]
    if repeated is not None and record.spec.repeats is not None:
        metric, each = record.spec.objective.metric, zip(repeated.numbers, repeated.values, strict=True)
        trainings = ", ".join(f"{exactly(metric, one[0])} in trial {number}" for number, one in each)
        where = [
            f"{values}: means over {len(repeated.numbers)} {record.spec.repeats.what}",
            f"{metric}: {trainings}; this file is trial {trial.number}",
        ]
    return [
        f"{what} the study {record.name}: trial {trial.number}",
        *where,
        *more,
        f"device: {trial.device or 'unknown'}; torch {record.environment.get('torch', 'unknown')}",
        f"Train it again: cifar-tune train {quote(path.as_posix())}",
    ]
