"""What a study stores of its plugins: enough to read and show it where their files are not, and no code."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.plugins.kinds import KINDS

_KNOB = TypeAdapter(Knob)
_CODE = {"target", "constants"}


def described(plugin: Plugin) -> dict[str, Any]:
    """The plugin as plain values for JSON: its sha256 and meaning, its knobs, and its parts without what they build."""
    return {
        "sha256": plugin.sha256,
        **({"meaning": plugin.meaning} if plugin.meaning else {}),
        **({"folder": plugin.folder} if plugin.folder else {}),
        "parts": {
            owner: {
                name: TypeAdapter(type(part)).dump_python(part, mode="json", exclude=_CODE, exclude_defaults=True)
                for name, part in parts.items()
            }
            for owner, parts in plugin.parts.items()
        },
        "knobs": {
            name: _KNOB.dump_python(knob, mode="json", exclude={"name"}, exclude_defaults=True)
            for name, knob in plugin.knobs.items()
        },
    }


def from_description(path: str, plain: Mapping[str, Any]) -> Plugin:
    """The plugin that was `described`. Its parts cannot be built: no module can have the name that they are given.

    Raises:
        pydantic.ValidationError, KeyError, AttributeError: `plain` is something else.
    """
    parts = {
        owner: {
            name: TypeAdapter(KINDS[owner].entry).validate_python({**fields, "target": f"<{path}>:{name}"})
            for name, fields in entries.items()
        }
        for owner, entries in plain["parts"].items()
    }
    knobs = {name: _KNOB.validate_python({**fields, "name": name}) for name, fields in plain["knobs"].items()}
    meaning, folder = str(plain.get("meaning", "")), str(plain.get("folder", ""))
    return Plugin(path, plain["sha256"], parts, knobs, meaning=meaning, folder=folder)
