"""The references of the documentation say what the code says. That of HTTP is in `tests/web/test_openapi.py`."""

import inspect
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import cifar_tune
from cifar_tune import plugins
from cifar_tune.cli import command_reference, python_reference
from cifar_tune.cli import reference as study_file_reference
from cifar_tune.cli.main import all_commands, app
from cifar_tune.cli.reference import SECTION_WORDS, reference
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.table import KNOBS
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.reader import SECTIONS
from cifar_tune.study_spec.samplers import SAMPLERS

from .conftest import Cli

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "module", "made"),
    [
        ("study-file.md", study_file_reference, study_file_reference.reference),
        ("command-reference.md", command_reference, command_reference.command_reference),
        ("python-reference.md", python_reference, python_reference.python_reference),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_the_page_is_what_the_code_says(page: str, module: ModuleType, made: Callable[[], str]) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == made(), f"run: {module.COMMAND}"


def test_every_command_and_option_is_there() -> None:
    text = command_reference.command_reference()
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    for name, command in program.commands.items():
        inner = command.commands if isinstance(command, TyperGroup) else {"": command}
        for each, found in inner.items():
            _, _, rest = text.partition(f"## cifar-tune {name} {each}".rstrip() + "\n")
            section = rest.partition("\n## ")[0]
            options = [option for each in found.params for option in each.opts if option.startswith("--")]
            assert [option for option in options if f"`{option}`" not in section] == [], (name, each)
    assert "`run --workers auto`" in text  # an option within a piece of code stays as it is


def test_python_names_are_there_and_can_be_imported() -> None:
    groups = python_reference.GROUPS
    assert {*cifar_tune.__all__, *plugins.__all__} - {"__version__"} <= {name for each in groups for name in each.names}
    for group in groups:
        for name, module in group.names.items():
            defined = getattr(import_module(f"cifar_tune.{module}"), name)
            assert inspect.getdoc(defined), name
            assert not group.imported_from or getattr(import_module(group.imported_from), name) is defined


def test_methods_of_a_server_say_what_those_of_the_desk_say() -> None:
    text = python_reference.python_reference()
    assert "See `Desk`" not in text
    assert "- `NameTakenError`: " in text.partition("#### HttpDesk.submit\n")[2].partition("\n#### ")[0]


def test_every_section_is_described() -> None:
    assert set(SECTION_WORDS) == set(SECTIONS)


def test_nothing_is_left_out() -> None:
    lines = reference().splitlines()
    assert {f"### {name}" for name in (*KNOBS, *SAMPLERS, *PRUNERS)} <= set(lines)
    rows = {line.split(" | ")[0] for line in lines if line.startswith("| ")}
    assert {f"| `{name}`" for name in (*Metrics(), *DataSpec.model_fields)} <= rows
    parameters = [*(each.parameters for each in SAMPLERS.values()), *(each.parameters for each in PRUNERS.values())]
    assert {f"| `{each.name}`" for some in parameters for each in some} <= rows
    assert "None" not in reference()


def test_parameters_without_a_fixed_default_show_none() -> None:
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `")]
    defaults = {row[0].strip("| `"): row[2] for row in rows if len(row) == 4}
    assert {name: defaults[name] for name in ("percentile", "patience", "popsize", "mutation_prob")} == {
        "percentile": "none: must be given",
        "patience": "none: must be given",
        "popsize": "automatic",
        "mutation_prob": "automatic",
    }


COMMANDS = [name for name, _ in command_reference._commands(all_commands(), "cifar-tune")]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fills_the_lines_of_a_terminal_and_gives_flags_no_value(
    name: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in cli(*name.split()[1:], "--help").out.splitlines()]
    words = lines[lines.index(next(line for line in lines if line.startswith("Usage:"))) + 1 :]
    prose = words[: next(index for index, line in enumerate(words) if line.startswith("╭"))]
    for line, following in pairwise(prose):
        if line and following and not following.startswith("--"):  # Rich breaks a long option at its hyphens
            assert len(f"{line} {following.split()[0]}") > 70, f"{line!r} ends early, before {following!r}"
    assert not [line for line in lines if "<bool>" in line and "--help" not in line]
