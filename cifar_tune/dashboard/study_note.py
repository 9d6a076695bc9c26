"""What the dashboard says of a study in words."""

from urllib.parse import quote

import optuna
from optuna.storages import BaseStorage

from cifar_tune.errors import UserError
from cifar_tune.reports.search_words import dimension_words
from cifar_tune.reports.tables import code, figure, table
from cifar_tune.storage.records import read_spec

REPORT_PATH = "/report"
"""Below it the reports of studies are served."""


def study_note(storage: BaseStorage, study_id: int) -> str:
    """The note, in Markdown: a link to our report, and what is searched how. Nothing in it changes while it runs."""
    name = storage.get_study_name_from_id(study_id)
    try:
        spec = read_spec(optuna.load_study(study_name=name, storage=storage))
    except UserError as error:
        return f"This version of cifar-tune cannot read the study: {code(error)}"
    goals = " and ".join(f"{code(each.metric)} ({each.direction})" for each in spec.objectives)
    limits = ", ".join(code(each) for each in spec.constraints)
    fixed = ", ".join(f"{code(knob)} {figure(value)}" for knob, value in spec.train.items())
    rows = [(code(knob), *dimension_words(dimension)) for knob, dimension in spec.search_space.items()]
    parts = [
        f"**[Open the report]({report_path(name)})** · `cifar-tune export {name}` writes it to disk",
        f"Objective: {goals}.{f' Constraints: {limits}.' if limits else ''} Budget: {spec.budget.trials:,} trials. "
        f"Sampler {code(spec.sampler.name)}, pruner {code(spec.pruner.name)}, data {code(spec.data.name)}.",
        table(("knob", "values", "where"), rows) if rows else "Nothing is searched: every knob is fixed.",
        *([f"Fixed: {fixed}."] if fixed else []),
    ]
    return "\n\n".join(parts)


def report_path(name: str) -> str:
    """Where the report of a study is served."""
    return f"{REPORT_PATH}/{quote(name, safe='')}/"
