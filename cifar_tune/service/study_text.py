"""The text of a study file that somebody submits: checked as `run` checks it, and stored with its overrides applied."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.service.addresses import why_not_here
from cifar_tune.study_spec.notify import SECTION as NOTIFY
from cifar_tune.study_spec.overrides import Override, apply_overrides
from cifar_tune.study_spec.reader import is_extension, read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import read_yaml
from cifar_tune.study_spec.yaml_writer import yaml_text

Rule = Callable[[Mapping[str, Any]], Sequence[Problem]]
"""Says what is wrong with what a study file says, before any plugin that it names runs."""


@dataclass(frozen=True, slots=True)
class StudyText:
    """A study file that is in order.

    Attributes:
        text: with the overrides applied, and without the addresses that are told (`spec.notify`): others can read it.
        spec: what it says.
        notes: on what is allowed but surely not meant.
    """

    text: str
    spec: StudySpec
    notes: tuple[str, ...] = ()


def checked_text(
    text: str, name_of_file: str, overrides: Sequence[Override] = (), rule: Rule | None = None
) -> StudyText:
    """Check the text of a study file, and apply the overrides.

    Args:
        text: of the file.
        name_of_file: for messages.
        overrides: as `--set` gives them.
        rule: what else must hold. A study file can name plugins, which run when it is read, and files.

    Raises:
        UserError: with all problems at once.
    """
    document = read_yaml(text, name_of_file, with_faults=True)
    raw = document.value
    if rule is not None and isinstance(raw, dict):
        problems = rule(apply_overrides(raw, overrides, BUILT_IN)[0])
        if problems:
            raise UserError(problems)
    read = read_study(document, name_of_file, overrides)
    for index, address in enumerate(read.spec.notify):
        why = why_not_here(address)
        if why is not None:
            read.problems.add((NOTIFY, index), why)
    read.problems.raise_if_any()
    if isinstance(raw, dict) and (overrides or NOTIFY in raw):
        text = yaml_text(_without_addresses(apply_overrides(raw, overrides, read.spec.vocabulary)[0]))
    return StudyText(text, read.spec, read.notes)


def _without_addresses(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """All that is left of a study file with addresses: they may also stand in comments, or behind anchors in `x-`."""
    if NOTIFY not in raw:
        return raw
    return {key: value for key, value in raw.items() if key != NOTIFY and not is_extension(key)}
