"""One trial for people, in Markdown."""

from cifar_tune.reports.best_config import resolved_config
from cifar_tune.reports.objective import SCALES
from cifar_tune.reports.tables import code, duration, exact, inert, table
from cifar_tune.storage.attributes import REASONS
from cifar_tune.storage.records import TrialRecord
from cifar_tune.study_spec.metrics import METRICS
from cifar_tune.study_spec.specification import StudySpec


def trial_markdown(trial: TrialRecord, spec: StudySpec, name: str) -> str:
    """How it ended, its figures, and its whole configuration; the searched knobs first. `name` is the study's."""
    figures = [
        (code(objective.metric), SCALES[objective.metric].shown(value), code(METRICS[objective.metric].exact(value)))
        for objective, value in zip(spec.objectives, trial.values, strict=False)
    ]
    precision = trial.precision or "precision unknown"
    facts = [
        ("epochs", str(trial.epochs)),
        ("time", duration(trial.seconds)),
        *([("parameters", f"{trial.parameters:,}")] if trial.parameters is not None else []),
        *([("multiply-adds of one image", f"{trial.flops:,}")] if trial.flops is not None else []),
        *([("device", f"{code(trial.device)}, {inert(precision)}")] if trial.device else []),
        *([("taken up again after epoch", ", ".join(map(str, trial.resumed_from)))] if trial.resumed_from else []),
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
        *([f"Error: {code(error[-1])}"] if error else []),
        table(("knob", "value", ""), rows),
    ]
    return "\n\n".join(parts) + "\n"
