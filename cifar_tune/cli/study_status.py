"""What `cifar-tune status` tells of a study."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy.engine import URL

from cifar_tune.cli.find_study import find_stored
from cifar_tune.errors import enumerate_names
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.attributes import REASONS, why_stopped
from cifar_tune.storage.linked import FINALS, NETWORKS, parent_of
from cifar_tune.storage.openings import RACE, times
from cifar_tune.storage.overview import overview
from cifar_tune.storage.rdb import open_existing
from cifar_tune.storage.records import FINISHED
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.storage.versions import is_earlier_version
from cifar_tune.study.live import told_trial
from cifar_tune.study.status import described, described_or_why
from cifar_tune.visible import visible
from cifar_tune.wording import counted, metric_figure, rough_duration, shown_params

_MOST_FAILED = 3

LAST_TRIALS = 10
"""This many of the trials that ended last are listed for one study."""

_ABOUT_LINKED = {
    FINALS: "the race of {parent}; its result is shown by: cifar-tune finalize {parent}",
    NETWORKS: "the networks of {parent}, validated on images that they were trained on; their test accuracy is shown "
    "by: cifar-tune finalize {parent}",
}
"""Of a study that finalize has made, which has no best trial."""


def one_status(study: str, url: URL) -> dict[str, Any]:
    """The status of one study, named by its file or by its name.

    Raises:
        UserError: if the storage has no such study.
    """
    return status_and_trials(study, url)[0]


def status_and_trials(study: str, url: URL) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The status of one study as `one_status` gives it, and the trials that ended last.

    Raises:
        UserError: if the storage has no such study.
    """
    name, storage = find_stored(study, url)
    seen = overview(storage, name, LAST_TRIALS)
    return described(storage, seen), [told_trial(trial) for trial in seen.last]


def trial_lines(status: Mapping[str, Any], last: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for people that list the trials that ended last, by their numbers."""
    return [visible(line) for line in _trial_lines(status, last)]


def _trial_lines(status: Mapping[str, Any], last: Sequence[Mapping[str, Any]]) -> list[str]:
    if not last:
        return []
    ended = sum(status["counts"].get(state, 0) for state in FINISHED)
    best = status["best"]
    marks = {} if best is None or parent_of(status["name"]) is not None else {best["number"]: "  (best)"}
    if status["trainings"] > 1 or len(status["objectives"]) > 1:  # the best is a mean, or one of a front
        marks = {}
    rows = [
        (
            f"trial {trial['number']}",
            (trial["reason"] or trial["state"].lower()).replace("_", " "),
            "-" if trial["value"] is None else metric_figure(trial["value"]),
            f"{_knobs(trial)}{marks.get(trial['number'], '')}",
        )
        for trial in sorted(last, key=lambda trial: int(trial["number"]))
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    which = "all trials that ended" if ended <= len(rows) else f"the last {len(rows)} of {ended} trials that ended"
    lines = [f"  {which} (state, {status['objective']}, knobs):"]
    lines += [
        f"    {number:<{widths[0]}}  {reason:<{widths[1]}}  {value:>{widths[2]}}  {knobs}"
        for number, reason, value, knobs in rows
    ]
    if ended > len(rows):
        lines.append(f"    all of them: trials.csv of `cifar-tune export {status['name']}`")
    return lines


def all_statuses(url: URL) -> list[dict[str, Any]]:
    """The status of every study; none where the storage does not exist yet."""
    storage = open_existing(url)
    if storage is None:
        return []
    return [described_or_why(name, partial(_described, storage, name)) for name in study_names(storage)]


def _described(storage: BatchStorage, name: str) -> dict[str, Any]:
    return described(storage, overview(storage, name))


def status_lines(status: dict[str, Any]) -> list[str]:
    """The same for people, on lines of which each stays one whatever the names in it are."""
    return [visible(line) for line in _lines(status)]


def _lines(status: dict[str, Any]) -> list[str]:
    if status.get("damaged"):
        return [f"{status['name']}: cannot be read: {status['damaged']}"]
    why_unknown = "not made by cifar-tune" if status.get("foreign") else status.get("unreadable")
    if why_unknown:
        return [f"{status['name']}: {line}" for line in why_unknown.split("\n")]
    return _lines_of_ours(status)


def _lines_of_ours(status: dict[str, Any]) -> list[str]:
    orphans = " left behind" if status["owner"] is None else ""
    counts = ", ".join(
        f"{count} {state}{orphans if state == 'RUNNING' else ''}" for state, count in sorted(status["counts"].items())
    )
    counts = counts or "no trials yet"
    done, budget = status["finished"], status["budget_trials"]
    trials = f"{done} of {budget} trials done" if done <= budget else f"{done} trials done, with a budget of {budget}"
    lines = [f"{status['name']}: {trials} ({counts}), {rough_duration(status['elapsed_seconds'])} so far"]
    if status["stopped"] is not None:
        lines.append(f"  {why_stopped(status['stopped'])}")
    lines += [
        f"  {count} {reason.replace('_', ' ')}: {REASONS[reason]}"
        for reason, count in status["reasons"].items()
        if reason not in ("completed", "pruned")
    ]
    lines += [f"  failed: trial {trial['number']}: {trial['error']}" for trial in status["failed"][:_MOST_FAILED]]
    if len(status["failed"]) > _MOST_FAILED:
        lines.append(f"  failed: {len(status['failed']) - _MOST_FAILED} more")
    lines += _best_lines(status)
    if status["incomplete"]:
        which = counted(status["incomplete"], "configuration")
        words = "has" if status["incomplete"] == 1 else "have"
        lines.append(f"  not ranked: {which} that {words} fewer than {status['trainings']} completed trainings")
    lines += opening_lines(status["test_openings"], [each["study"] for each in status["test_openings_elsewhere"]])
    if status["evolved_from"] is not None:
        evolved = status["evolved_from"]
        carried = counted(evolved["carried"], "trial")
        lines.append(f"  evolved from {evolved['from']}: {carried} carried over, {evolved['left']} left behind")
    lines.append(f"  run by: {_run_by(status)}")
    for word in ("running", "parked"):
        for trial in status[word]:
            value = "" if trial["value"] is None else f", {status['objective']} {trial['value']:.6g}"
            at = f"at epoch {trial['epoch']} of {trial['epochs'] or '?'}{value}"
            if word == "running" and orphans:
                goes_on = "" if is_earlier_version(status["name"]) else "; the next run takes it up"
                lines.append(f"  left behind: trial {trial['number']} {at}{goes_on}")
            else:
                lines.append(f"  {word}: trial {trial['number']} {at}")
    if status["paused"]:
        rungs = Counter(trial["rung"] for trial in status["paused"])
        at = ", ".join(f"{count} at rung {rung}" for rung, count in sorted(rungs.items()))
        count = counted(len(status["paused"]), "trial")
        lines.append(f"  paused: {count} ({at}), which may go on as further ones are judged")
    for word in ("drawn", "enqueued"):
        if status[word]:
            numbers = ", ".join(str(number) for number in status[word])
            lines.append(f"  {word}: trial {numbers}")
    return lines


def _where(best: dict[str, Any]) -> str:
    """Which trial it is, or which trials it is the mean of."""
    if "trainings" not in best:
        return f"trial {best['number']}"
    return f"the mean of trials {', '.join(map(str, best['trainings']))}"


def _best_lines(status: dict[str, Any]) -> list[str]:
    """The best trial, and the Pareto front; of a linked study, where its result is told."""
    lines: list[str] = []
    best = status["best"]
    parent = parent_of(status["name"])
    if parent is not None:
        return [f"  {_ABOUT_LINKED[status['name'].rpartition('/')[2]].format(parent=parent)}"]
    if best is not None:
        params = ", ".join(f"{name} {_short(value)}" for name, value in best["params"].items())
        errors = best.get("standard_errors", {})
        values = ", ".join(
            f"{name} {value:.6g}{f' (standard error {errors[name]:.2g})' if errors else ''}"
            for name, value in best["values"].items()
        )
        if status["front"] is not None:
            count = counted(len(status["front"]), "trial")
            lines.append(f"  Pareto front: {count} of {', '.join(status['objectives'])}")
        lines.append(f"  best: {values} in {_where(best)} ({params})")
    elif status["counts"].get("COMPLETE"):
        lines.append(f"  best: none; {_without_best(status)}")
    return lines


def _without_best(status: dict[str, Any]) -> str:
    """Why none of the completed trials is the best."""
    if not status["reasons"].keys() & {"completed", "repeated"}:
        return "another program ended all completed trials, so nobody knows what was trained"
    keeps = ", ".join(status["constraints"])
    if status["trainings"] > 1:
        return f"no configuration has all its {status['trainings']} trainings{f' and keeps {keeps}' if keeps else ''}"
    return f"no completed trial keeps {keeps}"


def _run_by(status: dict[str, Any]) -> str:
    lease = status["lease"]
    if lease is None:
        return "nobody right now"
    if not lease["is_free"]:
        return f"{status['owner']}, whose lease holds for {lease['seconds_left']:.0f} s unless it is renewed"
    gone = f"process {lease['pid']} on {lease['host']} was killed or lost"
    return f"nobody right now; {gone}, and the next run takes over at once"


def opening_lines(openings: list[dict[str, Any]], elsewhere: Sequence[str] = ()) -> list[str]:
    """How often the test set was opened and what came out the last time; nothing where it was not.

    Args:
        openings: of this study.
        elsewhere: for which other studies the same test images were opened, once for each time.
    """
    if not openings:
        return []
    last = openings[-1]
    result = "result lost" if last["test_accuracy"] is None else f"test_accuracy {last['test_accuracy']:.6g}"
    subject = f"trial {last['trial']}" if last["source"] is None else f"the configuration {last['source']}"
    subject += ", the winner of the race" if last["chosen"] == RACE else ""
    by = "" if last["person"] is None else f", by {last['person']} on {last['host']}"
    lines = [f"  test set: opened {times(openings)}; last for {subject}: {result} ({last['opened']}{by})"]
    if elsewhere:
        names = enumerate_names(list(dict.fromkeys(elsewhere)), "and")
        lines.append(f"  the same test images were opened {times(elsewhere)} for other studies: {names}")
    return lines


def _knobs(trial: Mapping[str, Any]) -> str:
    """What was searched; where nothing was, the seed, which tells the trials apart."""
    params, seed = trial["params"], trial.get("seed")
    return shown_params(params if params or seed is None else {"seed": seed})


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
