"""The `plugins` of a study file or of a configuration: Python files that define parts of the user's own."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from cifar_tune.knobs.plugin import Plugin, PluginFile, is_same_code
from cifar_tune.knobs.vocabulary import BUILT_IN, Vocabulary, vocabulary_with
from cifar_tune.plugins.description import from_description
from cifar_tune.plugins.files import PluginFileError, read_plugin_file
from cifar_tune.plugins.load import load_plugins
from cifar_tune.study_spec.overrides import Override, apply_overrides
from cifar_tune.study_spec.problems import Path, Problems

SECTION = "plugins"
_OF_A_FILE = "bring that code back, or write only the path, to take what is there now"
_OF_A_STUDY = "bring back the code that the study's trials were trained with"
_RULE = "must be a list of Python files, such as [my_parts.py]"


def read_plugins(
    raw: Mapping[str, Any],
    source: str | None,
    lines: Mapping[Path, int],
    overrides: Sequence[Override],
    is_stored: bool = False,
) -> Vocabulary:
    """The names that a file can use that has this `plugins` section: then its knobs and parts can be read.

    The files run, unless `is_stored`: then the section is the description that a study has of them.

    Raises:
        UserError: with everything that is wrong with the section or with the files.
    """
    raw, overridden = apply_overrides(raw, [each for each in overrides if each.key.split(".")[0] == SECTION], BUILT_IN)
    problems = Problems(source, lines, overridden)
    given = raw.get(SECTION)
    if is_stored:
        plugins = _described(given, problems)
        problems.raise_if_any()
        return vocabulary_with(plugins)
    files = _files(given, problems, _OF_A_FILE if lines else _OF_A_STUDY, _folder_of(source))
    problems.raise_if_any()
    return vocabulary_with(load_plugins(files))


def _folder_of(source: str | None) -> FilePath | None:
    """The folder of the study file or configuration; None where there is no such file."""
    if source is None or not os.path.isfile(source):  # noqa: PTH113 (Path raises where a name is too long)
        return None
    return FilePath(source).resolve().parent


def _files(raw: object, problems: Problems, way_on: str, beside: FilePath | None) -> list[PluginFile]:
    if raw is None:
        return []
    if not isinstance(raw, list):
        problems.add((SECTION,), _RULE, raw)
        return []
    files: list[PluginFile] = []
    for index, item in enumerate(raw):
        path: Path = (SECTION, index)
        values = item if isinstance(item, dict) else {"path": item}
        name, wanted, meaning = values.get("path"), values.get("sha256"), values.get("meaning", "")
        folder = values.get("folder", "")
        are_texts = isinstance(wanted, str | None) and isinstance(meaning, str) and isinstance(folder, str)
        if not isinstance(name, str) or not are_texts or values.keys() - {"path", "sha256", "meaning", "folder"}:
            problems.add(path, "must be a Python file, such as my_parts.py, or {path: my_parts.py, sha256: ...}", item)
            continue
        try:
            file = read_plugin_file(name, beside, folder)
        except PluginFileError as error:
            problems.add(path, str(error), name, error.nearest)
            continue
        if file.path in [each.path for each in files]:
            problems.add(path, "is listed twice", name)
        elif wanted is not None and not is_same_code(wanted, meaning, file.sha256, file.meaning):
            problems.add(path, f"{_changed(meaning)}; {way_on}", name)
        files.append(file)
    return files


def _changed(meaning: str) -> str:
    if meaning:
        return "its code is not the code that was written down"
    return "its content is not the content that was written down (perhaps only in comments: their meaning was not kept)"


def _described(raw: object, problems: Problems) -> tuple[Plugin, ...]:
    try:
        return tuple(from_description(path, plain) for path, plain in (raw or {}).items())  # type: ignore[attr-defined]
    except (ValidationError, KeyError, TypeError, AttributeError):
        problems.add((SECTION,), "is not a description of plugins that this version can read")
        return ()
