"""Nothing but `finalize` and `verify` can open the test split."""

import ast
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def importers(of: str) -> set[str]:
    """The modules of the package that import the module `of`, or something in it, anywhere in their code."""
    return {module for module, names in imported().items() if any(f"{name}.".startswith(f"{of}.") for name in names)}


@cache
def imported() -> dict[str, set[str]]:
    """What each module of the package imports."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / "cifar_tune").rglob("*.py"):
        names = found.setdefault(".".join(file.relative_to(ROOT).with_suffix("").parts), set())
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_finalize_opens_the_test_split_and_verify_repeats_it() -> None:
    assert importers("cifar_tune.data.test_split") == {"cifar_tune.study.finalizing", "cifar_tune.study.verifying"}
    assert importers("cifar_tune.study.verifying") == {"cifar_tune.bundles.verifying"}
    assert importers("cifar_tune.bundles.verifying") == {"cifar_tune.cli.commands.verify"}
    assert importers("cifar_tune.study.finalizing") == {"cifar_tune.cli.commands.finalize"}
    calls = {file.name for file in (ROOT / "cifar_tune").rglob("*.py") if ".test_part(" in file.read_text()}
    assert calls == {"test_split.py"}


def test_the_import_check_says_so_too() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    protected = {
        tuple(each["protected_modules"]): each["allowed_importers"] for each in contracts if each["type"] == "protected"
    }
    assert protected == {
        ("cifar_tune.data.test_split",): ["cifar_tune.study.finalizing", "cifar_tune.study.verifying"],
        ("cifar_tune.study.verifying",): ["cifar_tune.bundles.verifying"],
        ("cifar_tune.data.duplicates",): ["cifar_tune.study.checking"],
        ("cifar_tune.study.finalizing",): ["cifar_tune.cli.commands.finalize"],
    }
