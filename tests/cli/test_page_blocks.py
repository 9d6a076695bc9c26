"""What pages show can be typed: commands have these options, studies can be read, scripts compile.

The tutorials also run (tests/test_tutorials.py).
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import typer

from cifar_tune.cli.main import app
from cifar_tune.study_spec.reader import read_study_file

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)


def fenced(page: Path, language: str) -> Iterator[str]:
    for found in _FENCED.finditer(page.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each `cifar-tune` command of the blocks of a page; lines that go on count as one."""
    text = page.read_text(encoding="utf-8")
    blocks = [found[2] for found in _FENCED.finditer(text) if found[1] in ("", "sh", "bash")]
    blocks += [found[0] for found in _INDENTED.finditer(_FENCED.sub("", text))]
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = re.sub(r"^\$ ", "", line.strip())
        if words.startswith("cifar-tune ") and not re.search(r"[<>|]|\.\.\.", words.partition(" #")[0]):
            yield shlex.split(words, comments=True)[1:]


def id_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_pages_have_commands_and_studies() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 60
    assert sum(len(list(fenced(page, "yaml"))) for page in PAGES) > 10


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_commands_have_these_options(page: Path) -> None:
    program = cast(typer.core.TyperGroup, typer.main.get_command(app))
    for name, *arguments in commands(page):
        command = program.commands[name]
        with command.make_context(name, arguments):
            pass


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_studies_can_be_read(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = list(fenced(page, "python"))
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r"`(\w+\.py)`", page.read_text(encoding="utf-8"))[: len(scripts)]:
        (tmp_path / name).write_text(scripts[len(list(tmp_path.glob("*.py")))])
    for text in fenced(page, "yaml"):
        if text.startswith("name:"):
            study = tmp_path / "study.yaml"
            study.write_text(text)
            read_study_file(study)


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_scripts_compile(page: Path) -> None:
    for text in fenced(page, "python"):
        compile(text, id_of(page), "exec")
