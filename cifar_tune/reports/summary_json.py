"""`summary.json`: the study for programs."""

import json
from typing import Any

from cifar_tune.reports.best_config import resolved_config
from cifar_tune.reports.front import front_entries, values_by_metric
from cifar_tune.reports.importances import Importances
from cifar_tune.reports.linked import planned_of
from cifar_tune.reports.report import Report
from cifar_tune.reports.tested import test_json
from cifar_tune.reports.trust import intervals
from cifar_tune.statistics.shares import standard_error
from cifar_tune.storage.attributes import REASONS
from cifar_tune.storage.linked import FINALS, NETWORKS, is_networks, parent_of
from cifar_tune.storage.means import Repeated
from cifar_tune.storage.openings import BEST, RACE, elsewhere_shown
from cifar_tune.storage.records import StudyRecord, TrialRecord
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
        test: the newest result on the test set, or null: `accuracy`, `interval` (Wilson's, 95 %), `images`, `trial` and
            `source` (what was tested: one of them is null), `openings` (how often it was opened).
        race: what the race of `finalize` has decided, or null: `study`, `trainings`, `rungs` (candidates and blocks),
            `folds` (whether it was validated on images that chose nothing), `winner` (a trial), `mean` and `interval`
            (95 %, of its last rung), `cheapest` (of the tied), `optimism` (of the study's best trial), `scatter` (of a
            training beyond what its block does to all) and `candidates`: `trial`, `studied`, `values`, `mean`, `rungs`,
            `verdict` (tied, not decided, worse or withdrawn), `at_most_worse`, `failed`.
        result: what the study has come to, and best.yaml holds, or null: all keys of `best`, for the trial that won the
            race of `finalize`, else for the best one. Besides `chosen` (race or best), and `fresh_mean` and
            `fresh_interval`: the winner's mean of fresh trainings and its interval, null without a race.
        best: the best completed trial that keeps all constraints, or null; of several objectives, the best in the first
            one: `number`, `value` (the objective), `values` (all objectives by metric), `metrics` (the constrained and
            the listed ones, as far as the trial measured them), `params` (searched knobs, as training used them),
            `source` (sampler, start_from, transfer_from or enqueued),
            `config` (all knobs, lists of names as lists, `precision` as it came out), `epochs`, `seconds`,
            `parameters`, `flops`, `device`, `precision`, `intervals` (the 95 % interval, low and high, of each
            objective that is an accuracy; Wilson's, for other images of the same kind: it knows nothing of seeds and
            of the choice among trials), `standard_error` (of the same kind, of the first objective if that is an
            accuracy, else null), `repeated` (null without `repeats`; with them the best is a configuration, `value`,
            `values` and `seconds` are means over its trainings, `intervals` is empty, and here are the `trials`, their
            `values` by metric, and the `standard_errors` of the means; `standard_error` is then that of the
            first objective).
        front: a list of the trials on the Pareto front, or null with one objective: `number`, `values` (by metric),
            `params`, `parameters`, `flops`, `file` (its configuration).
        counts: trials in all under `total`, those that count against the budget under `finished`, and one number for
            each of COMPLETE, PRUNED, FAIL, RUNNING, WAITING.
        reasons: finished trials by why they ended: completed, pruned, infeasible, diverged, out_of_memory, error.
        stopped: why the rule `stop` of the study file has ended it, as `words`, `rule`, `finished` and `budget`
            (trials); null where it has not.
        linked: of a study that `finalize` has made, else null: `study` (whose candidates or networks these are), `kind`
            (finals or networks), and `trials`, a list of `trial`, `study_trial` (whose configuration it has, in a race,
            else null), `seed` and `fold` (0: the split of the study). None of its trials is the best one, and of
            networks all figures are of images that they were trained on.
        test_openings: one object for each time that the test split was opened, in order; empty if it was not:
            `opened`, `host`, `cifar_tune`, `fingerprint`, `trial` (null where a file was tested), `value`,
            `finished_trials`, `config`, `seed`, `epochs`, `train_images`, `device`, `precision`, `test_images`,
            `test_loss`, `test_accuracy` (these three null where the result was lost), `study` (the version before
            `run --evolve` that holds the trial, or null), `chosen` (best, trial or config), `source` (the file),
            `images` (all or study), `steps`, `test_metrics` (the further metrics of the study, such as
            `test_macro_f1`), `person` (who opened it; null where an earlier version did), `identity` (a name that no
            other opening has), `test_fingerprint` (of the test images), and `analysis`, null where an earlier version
            opened it: `classes` (a list of `class`, `images`, `right`, `accuracy`), `confusion` (a row per true class,
            a column per predicted one), `expected_calibration_error`, `calibration` (its bins: `low`, `high`, `images`,
            `confidence`, `accuracy`), `mistakes` (the most confident ones: `image`, its position; `path`, `true`,
            `predicted`, `probability`).
        test_openings_elsewhere: openings of the same test images for other studies of the storage: `study`, `opened`,
            `person`, `host`, `identity`, `test_accuracy`, `test_images`.
        importances: a share for each searched knob, adding up to 1, largest first; null where there are none.
        importances_by_chance: by knob, what chance alone would give it: in 95 of 100 shuffles of the values no knob had
            more; above 1 where little was found, null with fewer than ten completed trials.
        elapsed_seconds: wall clock over all runs.
        environment, data: what the first run found; empty before it.
        spec: the specification, as it would stand in a study file.
    """
    record = report.record
    found = report.importances
    by_chance = report.importance_chance
    objectives = [{"metric": each.metric, "direction": each.direction} for each in record.spec.objectives]
    content = {
        "format": FORMAT,
        "study": record.name,
        "objective": objectives[0],
        "objectives": objectives,
        "constraints": [str(constraint) for constraint in record.spec.constraints],
        "test": test_json(report),
        "race": None if report.race is None else report.race.plain(record.trials),
        "result": _result(report, report.chosen) if report.chosen else None,
        "best": _best(report, report.best) if report.best else None,
        "front": front_entries(report) if record.spec.has_several_objectives else None,
        "counts": {
            "total": len(record.trials),
            "finished": record.finished,
            **{state: record.counts[state] for state in STATES},
        },
        "reasons": {reason: report.reasons[reason] for reason in REASONS},
        "stopped": None if record.stopped is None else dict(record.stopped),
        "linked": _linked(record) if report.is_linked else None,
        "test_openings": [opening.shown() for opening in record.openings],
        "test_openings_elsewhere": elsewhere_shown(record.elsewhere),
        "importances": dict(found.shares) if isinstance(found, Importances) else None,
        "importances_by_chance": dict(by_chance.marks) if by_chance else None,
        "elapsed_seconds": record.elapsed_seconds,
        "environment": dict(record.environment),
        "data": dict(record.data),
        "spec": record.spec.plain(),
    }
    return visible_json(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def _linked(record: StudyRecord) -> dict[str, Any]:
    return {
        "study": parent_of(record.name),
        "kind": NETWORKS if is_networks(record.name) else FINALS,
        "trials": [
            {"trial": number, "study_trial": each.of, "seed": each.seed, "fold": each.fold}
            for number, each in planned_of(record).items()
        ],
    }


def _standard_error(report: Report, best: TrialRecord) -> float | None:
    if best.repeated is not None:
        return best.repeated.standard_errors[0]
    images = report.record.data.get("val_images")
    if not report.scale.is_accuracy or best.value is None or not images:
        return None
    return standard_error(best.value, images)


def _result(report: Report, chosen: TrialRecord) -> dict[str, Any]:
    raced = report.raced
    found = None if raced is None else raced.interval
    return {
        "chosen": BEST if raced is None else RACE,
        "fresh_mean": None if raced is None else raced.mean,
        "fresh_interval": None if found is None or found.is_point else [found.low, found.high],
        **_best(report, chosen),
    }


def _best(report: Report, best: TrialRecord) -> dict[str, Any]:
    return {
        "number": best.number,
        "value": best.value,
        "values": values_by_metric(report, best),
        "metrics": {name: best.metrics[name] for name, _ in report.other_metrics if name in best.metrics},
        "params": dict(best.searched),
        "source": best.source,
        "config": resolved_config(best, report.record.spec),
        "epochs": best.epochs,
        "seconds": best.seconds,
        "parameters": best.parameters,
        "flops": best.flops,
        "device": best.device,
        "precision": best.precision,
        "intervals": {metric: list(ends) for metric, ends in intervals(report, best).items()},
        "standard_error": _standard_error(report, best),
        "repeated": None if best.repeated is None else _repeated(report, best.repeated),
    }


def _repeated(report: Report, repeated: Repeated) -> dict[str, Any]:
    metrics = [objective.metric for objective in report.record.spec.objectives]
    return {
        "trials": list(repeated.numbers),
        "values": [dict(zip(metrics, each, strict=True)) for each in repeated.values],
        "standard_errors": dict(zip(metrics, repeated.standard_errors, strict=True)),
    }
