"""`report.html`: everything that is known of a study, in one file that needs nothing else."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cifar_tune.errors import UserError
from cifar_tune.plotting.ticks import MOST_DOTS
from cifar_tune.reports.best_config import BEST_FILE, best_yaml, resolved_config
from cifar_tune.reports.comparison import compare_in
from cifar_tune.reports.comparison_files import cells
from cifar_tune.reports.conditions import conditions, shared_first
from cifar_tune.reports.findings import findings, sparing_words
from cifar_tune.reports.importances import Importances
from cifar_tune.reports.labels import dimension_words
from cifar_tune.reports.learning_curves import validation_words
from cifar_tune.reports.linked import planned_of
from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.bars import importance_bars
from cifar_tune.reports.page.contours import LEVELS, contours
from cifar_tune.reports.page.course import course, improvements, value_axis
from cifar_tune.reports.page.curves import curves
from cifar_tune.reports.page.endings import endings, pruned_epochs
from cifar_tune.reports.page.front_pictures import front_pictures
from cifar_tune.reports.page.marks import MOST_LINKED
from cifar_tune.reports.page.slices import slice_of
from cifar_tune.reports.page.test_pictures import confusion_pictures, reliability_picture
from cifar_tune.reports.page.timeline import timeline
from cifar_tune.reports.race import ROW_HEAD, race_rows, race_sentences
from cifar_tune.reports.report import Report, SearchedKnob
from cifar_tune.reports.tested import (
    calibration_words,
    caution,
    chosen_words,
    class_rows,
    further_metrics,
    images_words,
    later_words,
    newest_analysis,
    newest_result,
    of_network_words,
    opened_words,
    opening_cells,
)
from cifar_tune.reports.trust import repeats_words, result_figure, trust_words
from cifar_tune.storage.linked import is_networks, linked_words, parent_of
from cifar_tune.storage.openings import elsewhere_words
from cifar_tune.storage.records import TrialRecord
from cifar_tune.study_spec.metrics import exactly
from cifar_tune.visible import visible_lines
from cifar_tune.wording import duration, exact, figure

_MOST_SLICES = 12
_MOST_FRONT = 50
_MOST_PRINTED = 50
"""Rows of the table of trials that are printed: a thousand would take 17 sheets."""


@dataclass(frozen=True)
class _Table:
    """A one-factor table: what it compares, its rows of text, and the conditions that are its own."""

    label: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    conditions: Markup


def report_html(report: Report, folder: Path) -> str:
    """The text of the file, which will lie in `folder`, beside `best.yaml` and `trials.csv`.

    It loads nothing, and its one script only copies text and sorts tables; a policy in it forbids everything else, so
    that no text of a study can become a part of the page. The same study gives the same file.
    """
    environment = _environment()
    anchors = Anchors(report)
    script, style = (Markup(_source(environment, name)) for name in ("report.js", "report.css"))  # noqa: S704 (our own)
    text = environment.get_template("report.html").render(
        **_contents(report, anchors, folder),
        report=report,
        record=report.record,
        spec=report.record.spec,
        anchors=anchors,
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )
    return visible_lines("\n".join(line for line in text.split("\n") if line.strip())) + "\n"


@cache
def _environment() -> Environment:
    """Kept with the templates that it has compiled, which takes longer than writing a page."""
    environment = Environment(
        loader=PackageLoader("cifar_tune.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(duration=duration, figure=figure, exact=exact, breakable=_breakable)
    return environment


def _breakable(text: str) -> Markup:
    """Text that may go on in the next line within a name, for tables that are printed."""
    return Markup(re.sub(r"[_+]", r"\g<0><wbr>", str(escape(text))))  # noqa: S704 (escaped)


def _source(environment: Environment, name: str) -> str:
    """The text without blank lines: the page has none, and the policy names the text as it stands there."""
    text = cast("PackageLoader", environment.loader).get_source(environment, name)[0]
    return "\n".join(line for line in text.strip().split("\n") if line.strip())


def _hash(text: str) -> str:
    """How a content security policy names the one script and the one style sheet that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _contents(report: Report, anchors: Anchors, folder: Path) -> dict[str, Any]:
    record = report.record
    found = report.importances
    shares, by_chance = report.importance_spread, report.importance_chance
    best = report.chosen
    drawable = report.nothing_to_draw is None
    is_drawn = drawable and not report.is_linked  # of what was searched
    return {
        "headline": _headline(report),
        "linked": linked_words(record.name),
        "parent": parent_of(record.name),
        "planned": planned_of(record),
        "is_networks": is_networks(record.name),
        "validation": validation_words(record.name),
        **_test_set(report),
        "race": report.race,
        "race_sentences": race_sentences(report),
        "race_head": ROW_HEAD,
        "race_rows": [] if report.race is None else race_rows(report, report.race),
        "findings": [] if report.is_linked else findings(report),
        "best": best,
        "best_values": _values(report, best) if best else [],
        "best_yaml": best_yaml(record, best, folder / BEST_FILE, report.raced) if best else "",
        "result_figure": result_figure(report) if best else "",
        "best_config": resolved_config(best, record.spec) if best else {},
        "command": f"cifar-tune train {quote((folder / BEST_FILE).as_posix())}",
        "trust": trust_words(report) if best else "",
        "repeats": repeats_words(report),
        "course": course(report, anchors) if drawable else [],
        "beyond_course": report.beyond(value_axis(report, True).high, with_running=True) if drawable else "",
        "improvements": improvements(report),
        "front": front_pictures(report, anchors) if record.spec.has_several_objectives else [],
        "most_front": _MOST_FRONT,
        "importances": found if isinstance(found, Importances) else None,
        "no_importances": found if isinstance(found, str) else "",
        "bars": importance_bars(report, found, shares, by_chance) if isinstance(found, Importances) else "",
        "spread": shares,
        "chance": by_chance,
        "slices": _slices(report, anchors) if is_drawn else [],
        "unshown": max(len(report.knobs) - _MOST_SLICES, 0),
        "contours": contours(report, anchors) if is_drawn else [],
        "levels": range(LEVELS),
        **({"tables": [], "conditions": ""} if report.is_linked else _tables(report)),
        "curves": curves(report, anchors),
        "endings": endings(report),
        "pruned_epochs": pruned_epochs(report),
        "sparing": sparing_words(report),
        "early": report.early_epochs,
        "timeline": timeline(report, anchors),
        "searched": [(name, *dimension_words(each)) for name, each in record.spec.search_space.items()],
        "values": lambda trial: _values(report, trial),
        "other_values": report.other_values,
        "exactly": exactly,
        "marked": _marked(report),
        "printed": lambda rows: _printed(report, rows),
        "marked_words": "on the Pareto front" if report.front else "the winner" if report.raced else "the best",
        "metrics": set(record.spec.metrics),
        "most_linked": MOST_LINKED,
        "most_dots": MOST_DOTS,
    }


def _test_set(report: Report) -> dict[str, Any]:
    found = newest_analysis(report)
    opening, analysis = found or (None, None)
    return {
        "tested": newest_result(report),
        "caution": caution(report),
        "later": later_words(report) if report.record.openings else [],
        "opening_cells": opening_cells,
        "opened_words": opened_words,
        "elsewhere": elsewhere_words(report.record.elsewhere),
        "chosen_words": chosen_words,
        "images_words": images_words,
        "test_metrics": further_metrics,
        "analysed": opening,
        "analysis": analysis,
        "class_rows": class_rows(analysis) if analysis else [],
        "confusion": confusion_pictures(analysis) if analysis else None,
        "reliability": reliability_picture(analysis) if analysis else "",
        "of_network": of_network_words(found[0]) if found else "",
        "calibration": calibration_words(analysis) if analysis else "",
    }


def _headline(report: Report) -> str:
    """What came out, where no trial is the best one."""
    if report.best:
        return ""
    if report.infeasible:
        return f"None of the {len(report.infeasible):,} completed trials keeps {report.constraint_words}."
    if report.record.spec.repeats is not None and report.reasons["completed"]:
        return f"No configuration has completed all its {report.record.spec.trainings} trainings."
    if report.record.finished:
        return f"None of the {report.record.finished:,} finished trials trained all its epochs."
    return "No trial has finished yet." if report.record.trials else "No trial has begun yet."


def _values(report: Report, trial: TrialRecord) -> list[tuple[str, str, str]]:
    """Metric, value as it is read, value with every digit: for each objective, also where the trial has no value."""
    values: Sequence[float | None] = trial.values
    if not values:
        values = [trial.metrics.get(each.metric) for each in report.record.spec.objectives]
    return [
        (objective.metric, scale.shown(value), "" if value is None else exactly(objective.metric, value))
        for objective, scale, value in zip(report.record.spec.objectives, report.scales, values, strict=True)
    ]


def _marked(report: Report) -> set[int]:
    """The trials that the table marks: the front of several objectives, else the one that the study has come to."""
    if report.front:
        return {trial.number for trial in report.front}
    return set() if report.chosen is None else {report.chosen.number}


def _printed(report: Report, rows: Sequence[TrialRecord]) -> set[int]:
    """The trials of the table that go on paper: the front and the best ones first, then the others by number."""
    listed = {trial.number for trial in rows}
    numbers = (trial.number for trial in (*report.front, *report.ranked, *rows))
    return set(list(dict.fromkeys(number for number in numbers if number in listed))[:_MOST_PRINTED])


def _shown_knobs(report: Report) -> list[SearchedKnob]:
    """The most important knobs first; in the order of the study file where nothing is known of that."""
    found = report.importances
    shares = found.shares if isinstance(found, Importances) else {}
    return sorted(report.knobs, key=lambda knob: -shares.get(knob.name, 0.0))[:_MOST_SLICES]


@dataclass(frozen=True)
class _Slices:
    """One objective against each knob, and how many trials lie above the end of its axis, as a sentence."""

    objective: str
    pictures: Sequence[Markup]
    beyond: str


def _slices(report: Report, anchors: Anchors) -> list[_Slices]:
    """One set of pictures for each objective that some trial has; empty where nothing is searched."""
    knobs = _shown_knobs(report)
    found = []
    for index, objective in enumerate(report.record.spec.objectives):
        if knobs and any(report.measured(index)):
            pictures = [slice_of(report, anchors, knob, index) for knob in knobs]
            beyond = report.beyond(value_axis(report, objective=index).high, objective=index)
            found.append(_Slices(objective.metric, pictures, beyond))
    return found


def _tables(report: Report) -> dict[str, Any]:
    """One table per searched knob, the most important first; none for a knob that no finished trial took."""
    found = []
    for knob in _shown_knobs(report):
        try:
            comparison = compare_in(report, knob.name)
        except UserError:
            continue
        if any(level.completed for level in comparison.levels):
            found.append(comparison)
    shared, own = shared_first([conditions(each, names_others=len(found) < 2) for each in found])
    tables = [_Table(each.label, *cells(each), _in_page(words)) for each, words in zip(found, own, strict=True)]
    return {"tables": tables, "conditions": _in_page(shared)}


def _in_page(sentences: Sequence[str]) -> Markup:
    """The sentences; what stands between backticks becomes code."""
    parts = " ".join(sentences).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )
