"""`summary.json`: the study for programs."""

import json
import math
from typing import Any

from cifar_tune.reports.best_config import resolved_config
from cifar_tune.reports.front import front_entries, values_by_metric
from cifar_tune.reports.importances import Importances
from cifar_tune.reports.report import Report
from cifar_tune.storage.attributes import REASONS
from cifar_tune.storage.records import TrialRecord
from cifar_tune.visible import visible_json

FORMAT = 1
"""Counts up when a key changes its meaning or goes away; new keys may come at any time."""

STATES = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING")

SUMMARY_FILE = "summary.json"
"""Its name in every export."""


def summary_json(report: Report) -> str:
    """The text of the file: strict JSON, numbers with every digit.

    Keys:
        format: FORMAT.
        study: the study's name.
        objective: `metric`, `direction`; the first one of several.
        objectives: a list of all of them.
        constraints: a list of texts such as `parameters <= 300000`.
        best: the best completed trial that keeps all constraints, or null; of several objectives, the best in the first
            one: `number`, `value` (the objective), `values` (all objectives by metric), `params` (searched knobs, as
            training used them), `source` (sampler, start_from or enqueued),
            `config` (all knobs, lists of names as lists, `precision` as it came out), `epochs`, `seconds`,
            `parameters`, `device`, `precision`, `standard_error` (of an accuracy, else null).
        front: a list of the trials on the Pareto front, or null with one objective: `number`, `values` (by metric),
            `params`, `parameters`, `flops`, `file` (its configuration).
        counts: trials in all under `total`, those that count against the budget under `finished`, and one number for
            each of COMPLETE, PRUNED, FAIL, RUNNING, WAITING.
        reasons: finished trials by why they ended: completed, pruned, infeasible, diverged, out_of_memory, error.
        test_openings: one object for each time that the test split was opened, in order; empty if it was not:
            `opened`, `host`, `cifar_tune`, `fingerprint`, `trial`, `value`, `finished_trials`, `config`, `seed`,
            `epochs`, `train_images`, `device`, `precision`, `test_images`, `test_loss`, `test_accuracy` (the last
            three null where the result was lost).
        importances: a share for each searched knob, adding up to 1, largest first; null where there are none.
        elapsed_seconds: wall clock over all runs.
        environment, data: what the first run found; empty before it.
        spec: the specification, as it would stand in a study file.
    """
    record = report.record
    found = report.importances
    objectives = [{"metric": each.metric, "direction": each.direction} for each in record.spec.objectives]
    content = {
        "format": FORMAT,
        "study": record.name,
        "objective": objectives[0],
        "objectives": objectives,
        "constraints": [str(constraint) for constraint in record.spec.constraints],
        "best": _best(report, report.best) if report.best else None,
        "front": front_entries(report) if record.spec.has_several_objectives else None,
        "counts": {
            "total": len(record.trials),
            "finished": record.finished,
            **{state: record.counts[state] for state in STATES},
        },
        "reasons": {reason: report.reasons[reason] for reason in REASONS},
        "test_openings": [opening.plain() for opening in record.openings],
        "importances": dict(found.shares) if isinstance(found, Importances) else None,
        "elapsed_seconds": record.elapsed_seconds,
        "environment": dict(record.environment),
        "data": dict(record.data),
        "spec": record.spec.plain(),
    }
    return visible_json(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def standard_error(report: Report) -> float | None:
    """Of the best trial's accuracy: sqrt(p (1 - p) / N) over N validation images; None if that is no objective."""
    images = report.record.data.get("val_images")
    values = report.best.values if report.best else ()
    shares = [value for scale, value in zip(report.scales, values, strict=False) if scale.is_share]
    if not shares or not images:
        return None
    share = shares[0]
    return math.sqrt(share * (1 - share) / images)


def _best(report: Report, best: TrialRecord) -> dict[str, Any]:
    return {
        "number": best.number,
        "value": best.value,
        "values": values_by_metric(report, best),
        "params": dict(best.searched),
        "source": best.source,
        "config": resolved_config(best, report.record.spec),
        "epochs": best.epochs,
        "seconds": best.seconds,
        "parameters": best.parameters,
        "flops": best.flops,
        "device": best.device,
        "precision": best.precision,
        "standard_error": standard_error(report),
    }
