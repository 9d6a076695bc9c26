"""From plugin files to plugins: they run, and what they define is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from traceback import format_exception_only
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.knobs.augmentations import AugmentationPart
from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.plugin import Plugin, PluginFile
from cifar_tune.plugins.checks import Places, check_plugins
from cifar_tune.plugins.execute import entry_lines, execute
from cifar_tune.plugins.kinds import KINDS, OWN_KNOBS


def load_plugins(files: Sequence[PluginFile]) -> tuple[Plugin, ...]:
    """Run the files and return what they define.

    Raises:
        UserError: with everything that is wrong with them.
    """
    modules = [execute(file) for file in files]
    broken = [module for module in modules if isinstance(module, Problem)]
    if broken:
        raise UserError(broken)
    places = Places({file.path: entry_lines(file.source) for file in files})
    plugins = []
    for file, module in zip(files, modules, strict=True):
        if isinstance(module, ModuleType):
            try:
                plugins.append(_plugin(file, module, places))
            except Exception as error:  # noqa: BLE001 (dictionaries and the like can be code of the plugin, too)
                said = "".join(format_exception_only(error)).strip().splitlines()[-1]
                places.add(file.path, f"what it defines cannot be read: {said}")
    if not places.problems:
        check_plugins(plugins, places)
    if places.problems:
        raise UserError(places.problems)
    return tuple(plugins)


def _plugin(file: PluginFile, module: ModuleType, places: Places) -> Plugin:
    parts: dict[str, dict[str, Part]] = {}
    for owner, kind in KINDS.items():
        found = _entries(file.path, module, kind.dictionary, kind.entry, places)
        if found:
            parts[owner] = found
    own = _own_knobs(file.path, module, places)
    misspelt = _misspelt(module, [*own.values(), *(part for found in parts.values() for part in found.values())])
    for name, near in misspelt.items():
        places.add(file.path, f"did you mean {near}? Nothing is read from {name}", name)
    if not parts and not places.problems:
        names = ", ".join(kind.dictionary for kind in KINDS.values())
        places.add(file.path, f"defines no parts: none of {names} is there, or all are empty")
    return Plugin(file.path, file.sha256, parts, own, file, file.meaning, file.folder)


def _misspelt(module: ModuleType, read: Sequence[Part | Knob]) -> dict[str, str]:
    """The names in the module that are almost those of parts or knobs, hold such, and are not read; with those names.

    A dictionary whose parts are all `read` under another name helps to build that one.
    """
    dictionaries = [kind.dictionary for kind in KINDS.values()]
    known = {id(each) for each in read}
    found = {}
    for name, value in vars(module).items():
        if name.startswith("_") or name in (*dictionaries, OWN_KNOBS):
            continue
        if isinstance(value, Mapping):
            entries, right = list(value.values()), dictionaries
        elif isinstance(value, list | tuple):
            entries, right = list(value), [OWN_KNOBS]
        else:
            continue
        near = nearest_name(name, right)
        if near and any(isinstance(each, Part | Knob) and id(each) not in known for each in entries):
            found[name] = near
    return found


def _entries(path: str, module: ModuleType, dictionary: str, entry: type[Part], places: Places) -> dict[str, Part]:
    given = getattr(module, dictionary, {})
    if not isinstance(given, Mapping):
        places.add(path, f'must be a dictionary such as {{"my_name": {entry.__name__}(...)}}', dictionary)
        return {}
    found = {}
    for name, part in given.items():
        if not isinstance(name, str) or not isinstance(part, entry):
            given_type = part.__name__ if isinstance(part, type) else f"a {type(part).__name__}"
            article = "an" if entry is AugmentationPart else "a"
            rule = f"must be a name with {article} {entry.__name__}, not {given_type}"
            if not isinstance(name, str):
                rule = "its name must be text in quotes"
            places.add(path, rule, dictionary, str(name))
        elif not _is_sound(part, path, dictionary, name, places):
            continue
        elif isinstance(part.target, str):
            rule = "its target must be the class or function itself, not its name"
            places.add(path, rule, dictionary, name, value=part.target)
        else:
            found[name] = part
    return found


def _own_knobs(path: str, module: ModuleType, places: Places) -> dict[str, Knob]:
    given = getattr(module, OWN_KNOBS, ())
    if not isinstance(given, list | tuple) or not all(isinstance(knob, Knob) for knob in given):
        places.add(path, "must be a list of Knob(...)", OWN_KNOBS)
        return {}
    found: dict[str, Knob] = {}
    for knob in given:
        if not _is_sound(knob, path, OWN_KNOBS, str(knob.name), places):
            continue
        if knob.name in found:
            places.add(path, "is defined twice", OWN_KNOBS, knob.name)
        found[knob.name] = knob
    return found


def _is_sound(entry: Part | Knob, path: str, dictionary: str, name: str, places: Places) -> bool:
    """Whether its fields are of their types; a problem for each that is not."""
    values: dict[str, Any] = {each.name: getattr(entry, each.name) for each in fields(entry)}
    try:
        TypeAdapter(type(entry)).validate_python(values)
    except ValidationError as error:
        for field_name, message in {str(item["loc"][0]): item["msg"] for item in error.errors()}.items():
            places.add(path, f"its {field_name}: {message}", dictionary, name, value=values.get(field_name))
        return False
    return True
