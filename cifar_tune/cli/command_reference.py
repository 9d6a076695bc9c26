"""`docs/command-reference.md`, from the commands themselves: `python -m cifar_tune.cli.command_reference` prints it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, EnumType
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import typer

from cifar_tune.cli.main import all_commands
from cifar_tune.markdown import table

COMMAND = "python -m cifar_tune.cli.command_reference > docs/command-reference.md"

_KINDS = {int: "INTEGER", float: "FLOAT", str: "TEXT", Path: "PATH"}
"""What the value of an option is called that has no metavar, as in `--help`."""

_OPTION = re.compile(r"`[^`]*`|(?<![\w-])(?P<option>--[a-z][a-z-]*[a-z])\b")
"""What is code already, or an option that is not."""


def command_reference() -> str:
    """The whole page, in Markdown."""
    parts = [
        "# Options of all commands",
        f"Made from the code by `{COMMAND}`; a test keeps it true. `cifar-tune COMMAND --help` prints the same in a "
        "terminal. [Commands](commands.md) says what each command is for, and what exit codes mean.",
    ]
    for name, command in _commands(all_commands(), "cifar-tune"):
        parts += _command(name, command)
    return "\n\n".join(parts) + "\n"


def _commands(group: typer.core.TyperGroup, prefix: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    """Every command with its whole name, such as `cifar-tune token create`."""
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", cast(typer.core.TyperCommand, command)


def _command(name: str, command: typer.core.TyperCommand) -> Iterable[str]:
    """What a command does, how it is typed, and a table of its arguments and options."""
    arguments = [each for each in command.params if isinstance(each, typer.core.TyperArgument)]
    options = [each for each in command.params if isinstance(each, typer.core.TyperOption) and not each.hidden]
    hints = get_type_hints(command.callback)
    words = [_argument(each) for each in arguments]
    yield f"## {name}"
    for paragraph in re.split(r"\n\s*\n", (command.help or "").strip()):
        yield _in_code(paragraph)
    yield f"`{' '.join([name, *words, '[OPTIONS]'])}`"
    rows = [(f"`{word}`", "", _in_code(each.help)) for word, each in zip(words, arguments, strict=True)]
    rows += [(_names(each, hints[str(each.name)]), _default(each), _in_code(each.help)) for each in options]
    yield table(("argument or option", "default", "meaning"), rows)


def _argument(each: typer.core.TyperArgument) -> str:
    word = (each.metavar or str(each.name).upper()).strip("[]")
    repeated = word if each.nargs == 1 or word.endswith("...") else f"{word}..."
    return repeated if each.required else f"[{repeated}]"


def _names(each: typer.core.TyperOption, kind: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts))
    if each.is_flag:
        return names
    inner = {kind, *get_args(kind), *(part for some in get_args(kind) for part in get_args(some))}
    choices = [str(choice.value) for part in inner if isinstance(part, EnumType) for choice in cast(type[Enum], part)]
    value = each.metavar or "|".join(choices) or next(word for known, word in _KINDS.items() if known in inner)
    return f"{names} `{value}`"


def _default(each: typer.core.TyperOption) -> str:
    if each.required:
        return "required"
    if isinstance(each.default, bool) or not each.show_default:
        return _of_switch(each)
    shown: object = each.default
    return "" if shown in (None, "") or (isinstance(shown, Sequence) and not shown) else f"`{shown}`"


def _of_switch(each: typer.core.TyperOption) -> str:
    """Of a pair such as `--browse/--no-browse`, the one that holds; else nothing."""
    return f"`{each.opts[0]}`" if each.secondary_opts and each.default else ""


def _in_code(text: str | None) -> str:
    """Text on one line, with the options in it as code: Markdown would make dashes of their signs."""
    line = " ".join((text or "").split())
    return _OPTION.sub(lambda found: f"`{found['option']}`" if found["option"] else found[0], line)


if __name__ == "__main__":
    print(command_reference(), end="")
