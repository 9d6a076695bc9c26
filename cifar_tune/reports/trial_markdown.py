"""`summary.md` of one trial, which the dashboard shows, and how a trial is named in other texts."""

from collections.abc import Mapping
from typing import Any

from cifar_tune.markdown import code, inert, table
from cifar_tune.reports.best_config import resolved_config
from cifar_tune.reports.objective import scale_of
from cifar_tune.storage.attributes import REASONS
from cifar_tune.storage.linked import linked_words
from cifar_tune.storage.records import TrialRecord
from cifar_tune.study_spec.metrics import exactly
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import duration, exact


def trial_markdown(trial: TrialRecord, spec: StudySpec, name: str) -> str:
    """How it ended, its figures, and its whole configuration; the searched knobs first. `name` is the study's."""
    figures = [
        (
            code(objective.metric),
            scale_of(objective.metric, spec.vocabulary).shown(value),
            code(exactly(objective.metric, value)),
        )
        for objective, value in zip(spec.objectives, trial.values, strict=False)
    ]
    figures += [
        (
            code(name),
            scale_of(name, spec.vocabulary).shown(trial.metrics[name]),
            code(exactly(name, trial.metrics[name])),
        )
        for name in spec.other_metrics
        if name in trial.metrics
    ]
    precision = trial.precision or "precision unknown"
    facts = [
        ("epochs", str(trial.epochs)),
        ("time", duration(trial.seconds)),
        *([("parameters", f"{trial.parameters:,}")] if trial.parameters is not None else []),
        *([("multiply-adds of one image", f"{trial.flops:,}")] if trial.flops is not None else []),
        *([("device", f"{code(trial.device)}, {inert(precision)}")] if trial.device else []),
        *([("taken up again after epoch", ", ".join(map(str, trial.resumed_from)))] if trial.resumed_from else []),
        *([("tries the configuration of", origin_words(trial.transferred_from))] if trial.transferred_from else []),
        *([("keeps all constraints", "yes" if trial.feasible else "no")] if spec.constraints else []),
    ]
    config = resolved_config(trial, spec)
    searched = [name for name in spec.search_space if name in trial.params]
    rows = [(code(name), f"**{inert(exact(config[name]))}**", "searched") for name in searched if name in config]
    rows += [(code(name), inert(exact(value)), "") for name, value in config.items() if name not in searched]
    error = (trial.error or "").strip().splitlines()
    parts = [
        f"# Trial {trial.number} of {inert(name)}",
        f"{trial.state}: {REASONS.get(trial.reason or '', 'not ended yet')}.",
        *([table(("figure", "", "exactly"), figures)] if figures else []),
        table(("", ""), facts),
        *([inert(linked_words(name))] if linked_words(name) else []),
        *([f"Error: {code(error[-1])}"] if error else []),
        table(("knob", "value", ""), rows),
    ]
    return "\n\n".join(parts) + "\n"


def origin_words(origin: Mapping[str, Any]) -> str:
    """`trial 7 of resnet18-small`, of a trial whose configuration comes from an earlier study."""
    return f"trial {origin['trial']} of {code(origin['study'])}"
