"""The text of a study file that somebody submits: checked as `run` checks it, and stored with its overrides applied."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import URL

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.service.addresses import why_not_here
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.study.opening import other_settings, what_differs, with_its_defaults
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


def require_allowed(text: str, name_of_file: str, overrides: Sequence[Override], rule: Rule | None) -> bool:
    """Refuse a study file that breaks a rule, before anything in it runs.

    Args:
        text: of the file.
        name_of_file: for messages.
        overrides: as `--set` gives them.
        rule: what must hold besides; None for nothing.

    Returns:
        Whether it names plugins, which run when it is read.

    Raises:
        UserError: with all problems at once.
    """
    raw = read_yaml(text, name_of_file, with_faults=True).value
    if not isinstance(raw, dict):
        return False
    given = apply_overrides(raw, overrides, BUILT_IN)[0]
    problems = rule(given) if rule is not None else ()
    if problems:
        raise UserError(problems)
    return bool(given.get("plugins"))


def checked_text(text: str, name_of_file: str, overrides: Sequence[Override] = ()) -> StudyText:
    """Check the text of a study file, and apply the overrides. Plugins that it names run in this process.

    Args:
        text: of the file.
        name_of_file: for messages.
        overrides: as `--set` gives them.

    Raises:
        UserError: with all problems at once.
    """
    document = read_yaml(text, name_of_file, with_faults=True)
    raw = document.value
    read = read_study(document, name_of_file, overrides)
    for index, address in enumerate(read.spec.notify):
        why = why_not_here(address)
        if why is not None:
            read.problems.add((NOTIFY, index), why)
    read.problems.raise_if_any()
    if isinstance(raw, dict) and (overrides or NOTIFY in raw):
        text = yaml_text(_without_addresses(apply_overrides(raw, overrides, read.spec.vocabulary)[0]))
    return StudyText(text, read.spec, read.notes)


def require_as_stored(spec: StudySpec, url: URL) -> None:
    """Refuse a study that the database holds with other settings, as its run would. It must be there.

    Args:
        spec: what the study file says.
        url: of the database.

    Raises:
        UserError: saying what differs.
    """
    storage = open_storage(url)
    try:
        different = what_differs(storage, with_its_defaults(storage, spec))
    finally:
        close(storage)
    if different:
        ways = (
            f"Nothing was queued. Give this one another name (`name:` in the file, or --set name=...), or remove the "
            f"stored one with: cifar-tune delete {spec.name}"
        )
        raise other_settings(spec.name, different, ways)


def _without_addresses(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """All that is left of a study file with addresses: they may also stand in comments, or behind anchors in `x-`."""
    if NOTIFY not in raw:
        return raw
    return {key: value for key, value in raw.items() if key != NOTIFY and not is_extension(key)}
