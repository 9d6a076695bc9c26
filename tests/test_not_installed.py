"""A copy of the package is enough: what an installation leaves beside it is not needed."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cifar_tune

ROOT = Path(__file__).parents[1]
STUDY = """
name: copied
budget: {trials: 1}
data: {name: digits, val_size: 300, train_size: 300}
train: {model: cnn3, width: 8, epochs: 2, batch_size: 64}
search_space: {lr: {low: 1e-3, high: 1e-1, log: true}}
"""

BROUGHT_BY = {
    "markupsafe": "jinja2",
    "starlette": "fastapi",
    "pydantic_core": "pydantic",
    "google": "onnx",
    "onnx_ir": "onnxscript",
}
"""Parts of the interface of a package that is declared."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """For a Python that finds a copy of the package and all that it needs, but no metadata of ours."""
    shutil.copytree(ROOT / "cifar_tune", tmp_path / "copy" / "cifar_tune")
    others = tmp_path / "others"
    others.mkdir()
    for folder in (Path(each) for each in sys.path if Path(each).name == "site-packages"):
        for entry in folder.iterdir():
            if not entry.name.replace("-", "_").startswith("cifar_tune") and not (others / entry.name).exists():
                (others / entry.name).symlink_to(entry)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CIFAR_TUNE_")}
    return kept | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "copy"), str(others)])}


def python(*arguments: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One without the packages that are installed (-S); so are the executors that it starts."""
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_study_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    asked = "import importlib.metadata as m; print([d.version for d in m.distributions(name='cifar-tune')])"
    found = python("-c", asked, folder=tmp_path, environment=environment)
    assert found.stdout == "[]\n", found.stderr
    (tmp_path / "study.yaml").write_text(STUDY)
    ran = python("-m", "cifar_tune", "run", "study.yaml", folder=tmp_path, environment=environment)
    assert ran.returncode == 0, ran.stderr
    assert "best_trial=0" in ran.stdout
    said = python("-m", "cifar_tune", "--version", folder=tmp_path, environment=environment)
    assert said.stdout == f"{cifar_tune.__version__}\n"


def test_all_that_is_imported_is_declared() -> None:
    """What only tests need is not there for those who install the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: each for name, each in project["optional-dependencies"].items() if name != "test"}
    declared = {
        canonicalize_name(Requirement(each).name) for each in (*project["dependencies"], *chain(*extras.values()))
    }
    brought_by = packages_distributions()
    missing = set()
    for file in (ROOT / "cifar_tune").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in {each.partition(".")[0] for each in names} - sys.stdlib_module_names - {"cifar_tune"}:
                owners = [BROUGHT_BY.get(name, name), *brought_by.get(name, ())]
                if not declared & {canonicalize_name(each) for each in owners}:
                    missing.add(f"{name} in {file.relative_to(ROOT)}")
    assert missing == set()


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"] == {"path": "cifar_tune/__init__.py"}
