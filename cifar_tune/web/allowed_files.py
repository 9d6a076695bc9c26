"""What a study that comes over HTTP may name: its images, weights and plugins are the administrator's business.

Whoever submits a study is not whoever owns the machine. Files that training would read lie below one folder that the
administrator has named, and plugins are installed packages that the administrator has listed: their code runs here.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cifar_tune.data.source_table import SOURCES
from cifar_tune.errors import Problem, enumerate_names, nearest_name
from cifar_tune.knobs.initial_weights import FRESH, TIMM
from cifar_tune.paths import PathError, expanded
from cifar_tune.service.study_text import Rule
from cifar_tune.web.settings import WebSettings

_WEIGHTS = "init_from"
"""The knob that names a file."""


def rule_of(settings: WebSettings) -> Rule:
    """What is wrong with a study file, as far as the administrator has decided."""

    def rule(raw: Mapping[str, Any]) -> Sequence[Problem]:
        found = [*_of_data(raw, settings), *_of_plugins(raw, settings), *_of_weights(raw, settings), *_of_starts(raw)]
        return [*found, *_of_transfer(raw)]

    return rule


def _of_data(raw: Mapping[str, Any], settings: WebSettings) -> Iterator[Problem]:
    data = raw.get("data")
    given = data if isinstance(data, dict) else {}
    root, name = given.get("root"), given.get("name", "cifar10")
    if isinstance(root, str):
        yield from _outside(root, "data.root", settings)
    elif root is None and settings.data_folder is not None and isinstance(name, str):
        source = SOURCES.get(name)
        if source is not None and source.root == "optional":
            rule = f"name its folder below {settings.data_folder}: only images in there may be used"
            yield Problem(rule, "data.root")


def _outside(path: str, key: str, settings: WebSettings) -> Iterator[Problem]:
    folder = settings.data_folder
    if folder is None:
        yield Problem("the administrator has named no folder of images (serve --data-folder)", key, path)
        return
    try:
        place = Path(expanded(path)) if "$" not in path and not path.startswith("~") else None
    except PathError as error:
        yield Problem(str(error), key, path)
        return
    if place is None:
        yield Problem("must be written without ~ and $: they mean the server's own", key, path)
        return
    try:
        is_inside = place.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):
        is_inside = False
    if not is_inside:
        yield Problem(f"must lie below {folder}, the folder that the administrator has named", key, path)


def _of_plugins(raw: Mapping[str, Any], settings: WebSettings) -> Iterator[Problem]:
    given = raw.get("plugins")
    allowed = settings.plugins
    known = f"allowed are {enumerate_names(allowed, 'and')}" if allowed else "the administrator has allowed none"
    for index, item in enumerate(given if isinstance(given, list) else []):
        name = item.get("path") if isinstance(item, dict) else item
        if not isinstance(name, str) or name not in allowed:
            near = nearest_name(name, allowed) if isinstance(name, str) else None
            rule = f"must be an installed package of parts that the administrator has allowed: {known}"
            yield Problem(rule, f"plugins[{index}]", item, nearest=near)
    if given is not None and not isinstance(given, list):
        yield Problem("must be a list of names of installed packages of parts", "plugins", given)


def _of_weights(raw: Mapping[str, Any], settings: WebSettings) -> Iterator[Problem]:
    for key, value in _named(raw):
        if isinstance(value, str) and value not in (FRESH, TIMM):
            yield from _outside(value.partition("@sha256:")[0], key, settings)


def _named(value: object, key: str = "", is_weights: bool = False) -> Iterator[tuple[str, object]]:
    """Each text below the knob that names a file, wherever that stands, and its place."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _named(each, f"{key}.{name}" if key else str(name), is_weights or name == _WEIGHTS)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _named(each, f"{key}[{index}]", is_weights)
    elif is_weights:
        yield key, value


def _of_starts(raw: Mapping[str, Any]) -> Iterator[Problem]:
    starts = raw.get("start_from")
    for index, item in enumerate(starts if isinstance(starts, list) else [starts] if isinstance(starts, str) else []):
        if isinstance(item, str):
            yield Problem("over HTTP, write the values themselves: files are not read", f"start_from[{index}]", item)


def _of_transfer(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """A database that somebody names would be opened with the rights of this program."""
    given = raw.get("transfer_from")
    if isinstance(given, dict) and given.get("storage") is not None:
        rule = "over HTTP, leave it out: configurations come from a study in the storage of this service"
        yield Problem(rule, "transfer_from.storage")
