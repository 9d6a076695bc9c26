"""What the dashboard says of a study in words."""

import shlex
from urllib.parse import quote

from cifar_tune.errors import UserError
from cifar_tune.markdown import code, inert, table
from cifar_tune.reports.labels import dimension_words
from cifar_tune.storage.linked import linked_words
from cifar_tune.storage.stored_studies import read_stored_spec
from cifar_tune.study_spec.search_space import Range
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import counted, figure

REPORT_PATH = "/report"
"""Below it the reports of studies are served."""


def study_note(name: str, described: object) -> str:
    """The note, in Markdown: a link to our report, and what is searched how. Nothing in it changes while it runs.

    Args:
        name: of the study.
        described: the specification that is stored with it.
    """
    try:
        return _written(name, read_stored_spec(name, described))
    except UserError as error:
        return f"This version of cifar-tune cannot read the study: {code(error)}"


_REPEATS = (
    "Each configuration is trained on {count} {what}, and these pages show every training as a trial of its own. The "
    "best one here is the luckiest training; the report has the best configuration, by its mean."
)


_TRANSFER = (
    "The first trials try the best configurations of the study {study}. Their user attribute `transferred_from` says "
    "which of its trials each one comes from."
)


def _written(name: str, spec: StudySpec) -> str:
    goals = " and ".join(f"{code(each.metric)} ({each.direction})" for each in spec.objectives)
    limits = ", ".join(code(each) for each in spec.constraints)
    fixed = ", ".join(f"{code(knob)} {inert(figure(value))}" for knob, value in spec.train.items())
    rows = [(code(knob), *map(inert, dimension_words(dimension))) for knob, dimension in spec.search_space.items()]
    searched = spec.search_space.items()
    relative = [f"{code(knob)} {each.per}" for knob, each in searched if isinstance(each, Range) and each.per]
    command = f"cifar-tune export {shlex.quote(name)}"
    about = [inert(linked_words(name))] if linked_words(name) else []
    parts = [
        *about,
        f"**[Open the report]({report_path(name)})** · {code(command)} writes it to disk",
        f"Objective: {goals}.{f' Constraints: {limits}.' if limits else ''} "
        f"Budget: {counted(spec.budget.trials, 'trial')}. Sampler {code(spec.sampler.name)}, "
        f"pruner {code(spec.pruner.name)}, data {code(spec.data.name)}.",
        table(("knob", "values", "where"), rows) if rows else "Nothing is searched: every knob is fixed.",
        *([f"Fixed: {fixed}."] if fixed else []),
        *([_TRANSFER.format(study=code(spec.transfer_from.study))] if spec.transfer_from is not None else []),
        *([_REPEATS.format(count=spec.repeats.count, what=spec.repeats.what)] if spec.repeats is not None else []),
        *([f"These pages show as it was drawn: {', '.join(relative)}."] if relative else []),
        *([] if about else [_IMPORTANCES_OF_EACH if spec.has_several_objectives else _IMPORTANCES]),
    ]
    return "\n\n".join(parts)


_IMPORTANCES = (
    "The importances on these pages are those of the report. The report also says how far they vary, and what chance "
    "alone would give."
)


_IMPORTANCES_OF_EACH = (
    "The importances on these pages are for each objective alone. The report has one list for all objectives: what "
    "brings trials near the Pareto front. It also says how far they vary, and what chance alone would give."
)


def report_path(name: str) -> str:
    """Where the report of a study is served."""
    return f"{REPORT_PATH}/{quote(name, safe='')}/"
