"""What docs/CONTRIBUTING.md shows works, and what the pages for contributors name is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cifar_tune.knobs.part import resolve
from cifar_tune.study_spec.samplers import SAMPLERS, SamplerChoice

from .conftest import Cli

ROOT = Path(__file__).parents[2]
CONTRIBUTING = ROOT / "docs" / "CONTRIBUTING.md"
PAGES = [CONTRIBUTING, ROOT / "docs" / "ARCHITECTURE.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL)


def test_the_parts_of_the_examples_train(cli: Cli, tmp_path: Path) -> None:
    files = [f"part_{index}.py" for index, _ in enumerate(blocks("python"))]
    for file, block in zip(files, blocks("python"), strict=True):
        (tmp_path / file).write_text(block)
    config = {
        "data": {"name": "digits"},
        "plugins": files,
        "train": {"model": "tiny_net", "optimizer": "sign_sgd", "width": 8, "epochs": 1},
    }
    (tmp_path / "parts.yaml").write_text(yaml.safe_dump(config))
    ended = cli("train", "parts.yaml")
    assert ended.code == 0, ended.err
    assert "val_accuracy=" in ended.out


def test_the_sampler_of_the_example_is_one_of_optunas() -> None:
    (block,) = blocks("text")
    entry: dict[str, Any] = eval("{" + block + "}", {"SamplerChoice": SamplerChoice})  # noqa: S307 (our own page)
    ((name, choice),) = entry.items()
    assert name not in SAMPLERS
    assert resolve(choice.target).__module__.startswith("optuna.samplers")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_files_and_targets_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([\w./-]+/[\w./-]*|[\w.-]+\.(?:md|py|toml))`", text) if "://" not in name]
    places = (ROOT, ROOT / "cifar_tune")
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
    links = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in links if not (page.parent / target).exists()] == []
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [
        target for target in re.findall(r"\bmake (\w+)", text) if f"`make {target}`" in text and target not in targets
    ] == []


def test_the_pages_on_decisions_are_all_linked() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[2:] if f"decisions/{page.name}" not in text] == []


def test_the_floors_of_the_picture_are_those_that_are_checked() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    picture = text[text.index("flowchart TD") : text.index("    cli --> ")]
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.findall(r'"([^"]+)"', re.search(r"layers = \[(.*?)\]", pyproject, re.DOTALL)[1])  # type: ignore[index]
    folders = [name for layer in layers for name in layer.split(" | ") if (ROOT / "cifar_tune" / name).is_dir()]
    assert [name for name in folders if not re.search(rf"\b{name}\b", picture)] == []
