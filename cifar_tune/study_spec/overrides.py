"""`--set key=value`: one knob, which then is fixed even if it was searched, or a dotted path such as `data.root`."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from cifar_tune.errors import Problem, UserError, all_at_once
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.study_spec.notify import SECTION as NOTIFY
from cifar_tune.study_spec.problems import Path
from cifar_tune.study_spec.yaml_reader import read_yaml_value


@dataclass(frozen=True, slots=True)
class Override:
    """One `--set`, or another `option` that changes what a study file says."""

    key: str
    value: object
    option: str = "--set"


def parse_override(text: str) -> Override:
    """Split `key=value`; the value is read as YAML, like in a study file.

    Raises:
        UserError: if there is no `=`, no key, or no YAML behind it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        told = None if text.strip().startswith(NOTIFY) else text  # addresses may hold secrets
        raise UserError(Problem("must be key=value, such as epochs=5 or data.root=images", "--set", told))
    try:
        return Override(key.strip(), read_yaml_value(value))
    except UserError as error:
        told = None if key.strip().startswith(NOTIFY) else value
        raise UserError(Problem(f"the value {error.problems[0].rule}", f"--set {key.strip()}", told)) from error


def parse_overrides(texts: Iterable[str]) -> list[Override]:
    """Read every `--set` of a command.

    Raises:
        UserError: with what is wrong with each of them.
    """
    overrides = []
    with all_at_once() as stage:
        for text in texts:
            with stage:
                overrides.append(parse_override(text))
    return overrides


def apply_overrides(
    raw: Mapping[str, Any], overrides: Sequence[Override], vocabulary: Vocabulary
) -> tuple[dict[str, Any], dict[Path, str]]:
    """Apply overrides to what a file says, before anything of it is checked.

    Returns the changed mapping (the given one stays as it was) and, for each path that was set, the option's name.

    Raises:
        UserError: with every override that leads through something that holds no keys.
    """
    changed = deepcopy(dict(raw))
    paths: dict[Path, str] = {}
    with all_at_once() as stage:
        for override in overrides:
            path = ("train", override.key) if override.key in vocabulary.knobs else tuple(override.key.split("."))
            if path[0] == "train" and len(path) == 2 and isinstance(changed.get("search_space"), dict):
                changed["search_space"].pop(path[1], None)
            if path[0] == "search_space" and len(path) == 2 and isinstance(changed.get("train"), dict):
                changed["train"].pop(path[1], None)
            if path[0] == "repeats" and len(path) == 2:
                changed["repeats"] = _repeats_beside(changed.get("repeats"), path[1])
            with stage:
                _assign(changed, path, override)
            paths[path] = override.option
    return changed, paths


def _repeats_beside(given: Any, key: str) -> Any:
    """What is left of `repeats` where this key of it is set: a number is short for seeds, and folds replace those."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        given = {"seeds": given}
    replaced = {"seeds": "folds", "folds": "seeds"}.get(key)
    return {name: value for name, value in given.items() if name != replaced} if isinstance(given, dict) else given


def _assign(raw: dict[str, Any], path: tuple[str, ...], override: Override) -> None:
    place = raw
    for part in path[:-1]:
        inner = place.get(part)
        if inner is None:
            inner = place[part] = {}
        if not isinstance(inner, dict):
            raise UserError(Problem(f"{part} holds no further keys", f"{override.option} {override.key}"))
        place = inner
    place[path[-1]] = override.value
