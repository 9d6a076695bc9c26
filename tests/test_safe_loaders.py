"""No code of the product reads YAML, checkpoints or anything else in a way that could run what it reads."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cifar_tune"
FILES = sorted(PACKAGE.rglob("*.py"))
UNSAFE_MODULES = {"dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
UNSAFE_CALLS = {
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load", "pandas.read_pickle", "torch.jit.load",
    "torch.package.PackageImporter", "os.system", "eval", "exec",
}  # fmt: skip
ALLOWED = {("plugins/execute.py", "exec")}  # a plugin is the user's own code, and the README says so


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unsafe(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name.partition(".")[0] in UNSAFE_MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                if module.partition(".")[0] in UNSAFE_MODULES:
                    yield module
                yield from (
                    f"{module}.{each.name}"
                    for each in names
                    if f"{module}.{each.name}" in {*UNSAFE_CALLS, "torch.load"}
                )
            case ast.ClassDef(bases=bases):
                yield from (name for base in bases if (name := dotted(base)).endswith(("UnsafeLoader", "FullLoader")))
            case ast.Call(func=func, keywords=keywords):
                name = dotted(func)
                given = {each.arg: each.value for each in keywords}
                if name in UNSAFE_CALLS:
                    yield name
                if name == "torch.load" and not is_true(given.get("weights_only")):
                    yield "torch.load without weights_only=True"
                if name.endswith((".load", ".open_memmap")) and is_true(given.get("allow_pickle")):
                    yield f"{name} with allow_pickle"
                if name.startswith("subprocess.") and is_true(given.get("shell")):
                    yield f"{name} with a shell"


def is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def test_nothing_unsafe_is_called() -> None:
    found = {
        (file.relative_to(PACKAGE).as_posix(), name) for file in FILES for name in unsafe(ast.parse(file.read_text()))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import yaml\nyaml.load(text, yaml.SafeLoader)",
        "import yaml\nyaml.unsafe_load(text)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load",
        "import pickle\npickle.loads(data)",
        "from pickle import loads",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import marshal",
        "class L(yaml.FullLoader): ...",
        "eval(text)",
    ],
)
def test_what_is_unsafe_is_found(source: str) -> None:
    assert list(unsafe(ast.parse(source)))
