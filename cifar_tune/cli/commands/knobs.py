"""`cifar-tune knobs`."""

import json
from typing import Annotated, Any

import typer

from cifar_tune.cli import options
from cifar_tune.knobs.knob import Kind, Knob, stored
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.streams import say


def knobs(
    as_json: options.Json = False,
    plugins: Annotated[
        list[str] | None,
        typer.Option("--plugins", metavar="FILE", help="Run this plugin and show its parts too. Repeatable."),
    ] = None,
) -> None:
    """Every knob of a training run: name, type, default, choices, meaning.

    With --json: a list of objects with name, type, default, defaults (where the owner's choice has its own), low and
    high (null: unbounded), choices (name to meaning, null for numbers), owner, taken_by, meaning.
    """
    from cifar_tune.study_spec.plugin_section import read_plugins

    vocabulary = read_plugins({"plugins": plugins}, "--plugins", {}, ())
    if as_json:
        typer.echo(json.dumps([described(knob, vocabulary) for knob in vocabulary.knobs.values()], indent=2))
        return
    indent = 2 + max(map(len, vocabulary.knobs))
    for knob in vocabulary.knobs.values():
        say(f"{knob.name:<{indent}}{type_words(knob):<22} default {default_words(knob, vocabulary)}")
        say(f"{'':<{indent}}{knob.meaning}")
        if knob.owner:
            say(f"{'':<{indent}}taken by {knob.owner}: {', '.join(vocabulary.takers(knob))}")
        for name, meaning in choices_of(knob).items():
            say(f"{'':<{indent}}  {name:<17} {meaning}")


def described(knob: Knob, vocabulary: Vocabulary) -> dict[str, Any]:
    """A knob as JSON; see `knobs`."""
    finite = {side: bound if abs(bound) != float("inf") else None for side, bound in _bounds(knob).items()}
    return {
        "name": knob.name,
        "type": knob.kind.value,
        "default": stored(knob.default),
        "defaults": _owner_defaults(knob, vocabulary),
        **finite,
        "choices": choices_of(knob) or None,
        "owner": knob.owner,
        "taken_by": list(vocabulary.takers(knob)),
        "meaning": knob.meaning,
    }


def _bounds(knob: Knob) -> dict[str, float]:
    return {"low": knob.low, "high": knob.high}


def choices_of(knob: Knob) -> dict[str, str]:
    """Its names, with what each of them is; empty for numbers."""
    return {name: part.meaning if isinstance(part, Part) else part for name, part in (knob.names or {}).items()}


def type_words(knob: Knob) -> str:
    """Such as `float >= 0 and < 1`."""
    numeric = knob.kind in (Kind.FLOAT, Kind.INT)
    return f"{knob.kind.value} {knob.bounds}".strip() if numeric else knob.kind.value


def default_words(knob: Knob, vocabulary: Vocabulary) -> str:
    """Its default, and those of the choices of its owner that have one of their own."""
    defaults = {"": stored(knob.default), **_owner_defaults(knob, vocabulary)}
    shown = {name: str(value).lower() if knob.kind is Kind.BOOL else str(value) for name, value in defaults.items()}
    return shown.pop("") + "".join(f"; {name}: {value}" for name, value in shown.items())


def _owner_defaults(knob: Knob, vocabulary: Vocabulary) -> dict[str, Any]:
    parts = vocabulary.parts(knob.owner) if knob.owner else {}
    return {name: stored(part.defaults[knob.name]) for name, part in parts.items() if knob.name in part.defaults}
