"""`summary.md`: the study for people, one trial, and the test result."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

from cifar_tune.markdown import code, inert, table
from cifar_tune.reports.best_config import resolved_config
from cifar_tune.reports.front import front_file, front_table
from cifar_tune.reports.importances import ENOUGH_TRIALS, Importances, share_words
from cifar_tune.reports.labels import dimension_words
from cifar_tune.reports.linked import linked_section
from cifar_tune.reports.pictures import pictures_of
from cifar_tune.reports.race import race_section
from cifar_tune.reports.report import Report
from cifar_tune.reports.tested import result_words, test_set
from cifar_tune.reports.trial_markdown import origin_words
from cifar_tune.reports.trials_section import endings_in_words, trials_section
from cifar_tune.reports.trust import error_words, result_figure, trust_words
from cifar_tune.storage.records import FINISHED, TrialRecord
from cifar_tune.study_spec.metrics import exactly
from cifar_tune.study_spec.search_space import Choices
from cifar_tune.visible import visible
from cifar_tune.wording import counted, duration, exact, figure


def summary_markdown(report: Report, folder: Path, unseen: Mapping[str, str]) -> str:
    """The text of the file. `unseen` holds, by file name, why a picture has nothing to show."""
    if report.is_linked:
        parts = [
            f"# {inert(report.record.name)}",
            *linked_section(report.record, report.scale),
            *trials_section(report),
            *_pictures(report, unseen),
            *_circumstances(report),
        ]
        return "\n\n".join(parts) + "\n"
    parts = [
        f"# {inert(report.record.name)}",
        *result_words(report),
        *_result(report),
        *test_set(report),
        *race_section(report),
        *_searched(report),
        *trials_section(report),
        *_importances(report),
        *_pictures(report, unseen),
        *_circumstances(report),
        *_how_to_go_on(report, folder),
    ]
    return "\n\n".join(parts) + "\n"


def _result(report: Report) -> list[str]:
    record = report.record
    if report.best is None and report.infeasible:
        return ["## Result", f"**There is no best configuration, and so no `best.yaml`.** {_count(report.infeasible)} "
                f"completed, but none keeps {report.constraint_words}."]  # fmt: skip
    if report.best is None:
        return ["## Result", f"**There is no best configuration, and so no `best.yaml`.** {_why_no_best(report)}"]
    best = report.chosen or report.best
    values = ", ".join(
        f"`{objective.metric} = {exactly(objective.metric, value)}` (to {objective.direction})"
        for objective, value in zip(record.spec.objectives, best.values, strict=True)
    )
    searched = [name for name in record.spec.search_space if name in best.params]
    config = resolved_config(best, record.spec)
    rows = [(code(name), f"**{inert(exact(config[name]))}**", _searched_how(report, best, name)) for name in searched]
    rows += [(code(name), inert(exact(value)), "") for name, value in config.items() if name not in searched]
    size = f", {best.parameters:,} parameters" if best.parameters is not None else ""
    epochs = counted(best.epochs, "epoch")
    return [
        "## Result",
        *_front(report),
        f"**{result_figure(report)}** {report.scale.words}{_mean_words(report, best)}: trial {best.number}, "
        f"{epochs}, {duration(best.seconds)}{size}{_given(best)}. At full precision"
        f"{' in the study' if report.raced else ''}: {values}.",
        *_other_metrics(report, best),
        _honest_words(report, best),
        "The whole configuration, also in [best.yaml](best.yaml):",
        table(("knob", "value", ""), rows),
    ]


def _other_metrics(report: Report, trial: TrialRecord) -> list[str]:
    figures = ", ".join(f"{code(name)} {shown}" for name, shown in report.other_values(trial))
    return [f"Its other metrics: {figures}."] if figures else []


def _mean_words(report: Report, best: TrialRecord) -> str:
    """What the figure is a mean of; empty where it is that of one training."""
    if report.raced is not None:
        return ", the mean of the fresh trainings of the winner of the [race](#race)"
    repeats = report.record.spec.repeats
    if best.repeated is None or repeats is None:
        return ""
    return f", in the mean of {len(best.repeated.numbers)} {repeats.what} (standard error {error_words(report)})"


def _why_no_best(report: Report) -> str:
    """Of a study in which no completed trial was trained here."""
    record = report.record
    if record.spec.repeats is not None and report.reasons["completed"]:
        return f"No configuration has completed all its {record.spec.trainings} trainings."
    endings = [f"{report.reasons[reason]} {words}" for reason, words in endings_in_words(report)]
    elsewhere = sum(trial.state in FINISHED and not trial.ended_here for trial in record.trials)
    endings += [f"{elsewhere} ended by another program"] if elsewhere else []
    if endings:
        return f"Of {record.finished:,} finished trials, this program trained none to its end: {', '.join(endings)}."
    return "No trial has finished yet." if record.trials else "No trial has begun yet."


def _front(report: Report) -> list[str]:
    """What comes first of several objectives: all trials between which only taste can decide."""
    objectives = report.record.spec.objectives
    if len(objectives) == 1:
        return []
    goals = ", ".join(f"{each.metric} ({each.direction})" for each in objectives)
    file = front_file(report.front[0])
    count = _count(report.front)
    return [
        f"**{count} on the Pareto front** of {goals}: no other trial is at least as good in everything and better in "
        f"something. Each has a configuration of its own, such as [{file}]({file}).",
        front_table(report),
        f"`best.yaml` is the one with the best {objectives[0].metric}:",
    ]


def _count(trials: Sequence[TrialRecord]) -> str:
    return counted(len(trials), "trial")


def _given(trial: TrialRecord) -> str:
    if trial.source == "sampler":
        return ""
    if trial.transferred_from is not None:
        return f", with the configuration of {origin_words(trial.transferred_from)} (`transfer_from`)"
    return ", from `start_from`" if trial.source == "start_from" else ", enqueued by hand"


def _searched_how(report: Report, best: TrialRecord, name: str) -> str:
    dimension = report.record.spec.search_space[name]
    if isinstance(dimension, Choices) or dimension.per is None:
        return "searched"
    return f"searched: {figure(best.params[name])} {dimension.per}"


def _honest_words(report: Report, best: TrialRecord) -> str:
    words = trust_words(report)
    validated = best.history.get("val_accuracy")
    if not report.scale.is_share and validated:
        words += f" The trial's validation accuracy after its last epoch was {validated[-1] * 100:.2f} %."
    return words


def _searched(report: Report) -> list[str]:
    spec = report.record.spec
    rows = [(code(name), *dimension_words(dimension)) for name, dimension in spec.search_space.items()]
    fixed = ", ".join(f"{code(name)} {figure(value)}" for name, value in spec.train.items()) or "none"
    limit = f", {duration(spec.budget.timeout)}" if spec.budget.timeout else ""
    limit += f", {duration(spec.budget.trial_timeout)} per trial" if spec.budget.trial_timeout else ""
    return [
        "## What was searched",
        table(("knob", "values", "where"), rows) if rows else "Nothing: every knob is fixed.",
        f"Fixed: {fixed}; the other knobs have their defaults. Sampler {code(spec.sampler.name)}, pruner "
        f"{code(spec.pruner.name)}; budget: {counted(spec.budget.trials, 'trial')}{limit}.",
    ]


def _importances(report: Report) -> list[str]:
    found = report.importances
    if not isinstance(found, Importances):
        return ["## Importance of the knobs", found]
    labels = {knob.name: knob.label for knob in report.knobs}
    rows = [[code(labels[name]), share_words(share)] for name, share in found.shares.items()]
    header = ["knob", "share"]
    words = f"PED-ANOVA: {found.basis}."
    around = report.importance_spread
    if around is not None:
        header.append("in 90 % of resamples")
        for row, name in zip(rows, found.shares, strict=True):
            low, high = around.intervals[name]
            row.append(f"{low * 100:.0f} to {high * 100:.0f} %")
        words += f" In 90 % of resamples: {around.words}."
    by_chance = report.importance_chance
    if by_chance is not None:
        header.append("by chance up to")
        for row, name in zip(rows, found.shares, strict=True):
            row.append(share_words(by_chance.marks[name]))
        words += f" By chance up to: {by_chance.words}. {by_chance.verdict(found)}"
    if found.completed < ENOUGH_TRIALS:
        words += f" With fewer than {ENOUGH_TRIALS} completed trials this is a hint, no more."
    return ["## Importance of the knobs", words, table(header, rows, right=range(1, len(header)))]


def _pictures(report: Report, unseen: Mapping[str, str]) -> list[str]:
    parts = ["## Pictures"]
    if report.record.spec.has_several_objectives:
        parts.append(
            f"Where a picture shows one objective, it is the first one, {report.record.spec.objective.metric}."
        )
    for file, picture in pictures_of(report).items():
        if unseen.get(file) is not None and unseen[file] == report.importances:  # said above
            continue
        seen = f"![{picture.heading}]({file})\n\n{picture.caption}"
        parts += [f"### {picture.heading}", unseen.get(file, seen)]
    return parts


def _circumstances(report: Report) -> list[str]:
    record, spec = report.record, report.record.spec
    seed = "searched" if "seed" in spec.search_space else str(spec.first_seed)
    if spec.repeats is not None:
        seed = f"{spec.first_seed} to {spec.first_seed + spec.repeats.count - 1}"
    rows = [(name, code(value)) for name, value in record.environment.items()]
    images = {"train_images": "training images", "val_images": "validation images"}
    counted = [f"{record.data[key]:,} {words}" for key, words in images.items() if key in record.data]
    if "classes" in record.data:
        counted.append(f"{len(record.data['classes'])} classes")
    splits = f" ({record.data['splits']})" if record.data.get("splits") else ""
    fingerprint = f"; fingerprint {code(record.data['fingerprint'])}" if "fingerprint" in record.data else ""
    return [
        "## Circumstances",
        f"Seeds: `sampler.seed` {spec.sampler.seed}, `data.split_seed` {spec.data.split_seed}, `train.seed` {seed}.",
        f"Data: {code(spec.data.name)}{', ' if counted else ''}{', '.join(counted)}{splits}{fingerprint}.",
        table(("environment of the first run", ""), rows) if rows else "The study has not run yet.",
    ]


def _how_to_go_on(report: Report, folder: Path) -> list[str]:
    record = report.record
    budget = record.spec.budget.trials
    name, newer = visible(quote(record.name)), record.succeeded_by
    go_on = f"cifar-tune run {name}    # go on, to the {budget:,} trials of its budget"
    if newer is not None:
        go_on = f"cifar-tune run {visible(quote(newer))}    # go on with the study that this one evolved into"
    elif record.stopped is not None and record.spec.stop is not None:
        more, why = budget + record.spec.stop.fewest_more, record.spec.stop.needs_words
        go_on = f"cifar-tune run {name} --trials {more}    # go on; {why} before it can stop the study again"
    elif record.finished >= budget or record.stopped is not None:
        more = max(budget, record.finished) + 50
        go_on = f"cifar-tune run {name} --trials {more}    # go on, for example to {more:,} trials in total"
    has_rule = record.stopped is not None and bool(record.stopped["rule"])
    is_exhausted = record.ended_early and not has_rule and newer is None
    commands = [
        *([] if is_exhausted else [go_on]),
        f"cifar-tune export {name}    # write this report again",
    ]
    if report.chosen:
        which = "the best one" if report.raced is None else "the winner of the race"
        if not record.openings and newer is None:
            commands.insert(0, f"cifar-tune finalize {name}    # train {which} on all images, and test it")
        commands.insert(0, f"cifar-tune train {quote((folder / 'best.yaml').as_posix())}    # train {which} again")
    return [
        "## How to go on",
        "```sh\n" + "\n".join(commands) + "\n```",
        "Add `--storage URL` where the study is not in the default storage. The same configuration gives the same "
        "value on the same kind of device with the same versions.",
    ]
