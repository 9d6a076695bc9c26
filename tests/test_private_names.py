"""What other libraries do not promise to keep is used in one file for each of them, and nowhere else."""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import cifar_tune
from cifar_tune import optuna_internals, optuna_storage

PACKAGE = Path(cifar_tune.__file__).parent
PLACES = (
    "optuna_internals.py",
    "optuna_rows.py",
    "optuna_storage.py",
    "optuna_tables.py",
    "models/uncompiled.py",
    "training/torch_internals.py",
    "executors/starting.py",
)
FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file.relative_to(PACKAGE).as_posix() not in PLACES]
DOCUMENTED = {"os._exit"}
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
"""Public in spite of their names: a named tuple must leave all others to its fields."""

OF_PYTHON = {"_abc_impl", "_is_protocol"}
"""Python itself puts these into classes that derive from abstract ones and from protocols."""

KEYS = [
    value
    for name, value in vars(optuna_internals).items()
    if name.isupper() and isinstance(value, str) and value != optuna_internals.CONSTRAINTS_OF_OPTUNA_4
]
OPTUNA_CLASSES = ("Study", "Trial", "FrozenTrial", "RDBStorage", "InMemoryStorage", "HyperbandPruner", "BaseSampler")

_TARGET = re.compile(r"[a-z_]\w*(\.\w+)*:\w+")
_ATTRIBUTE_CALLS = ("getattr", "setattr", "hasattr", "delattr")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def has_private_part(dotted: str) -> bool:
    return any(is_private(part) for part in re.split(r"[.:]", dotted))


def own_names(tree: ast.AST) -> set[str]:
    """What the classes of a file call their own: methods and attributes."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attr, ctx=ast.Store()):
                names.add(attr)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


@cache
def names_of_optuna() -> frozenset[str]:
    """Private attributes of Optuna's objects that the product handles."""
    found: set[str] = set()
    for name in OPTUNA_CLASSES:
        places = (optuna_internals, optuna_storage, importlib.import_module("optuna"))
        kind = next(getattr(place, name) for place in places if hasattr(place, name))
        found |= private_names_of(kind)
    return frozenset(found)


def private_names_of(kind: type) -> set[str]:
    """The private methods of a class, and the private attributes that it sets."""
    names = {name for name in dir(kind) if is_private(name)}
    return names.union(*map(private_names_in, kind.__mro__))


@cache
def private_names_in(kind: type) -> set[str]:
    """The private names in the source of a class alone."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):  # built in
        return set()
    return {name for name in own_names(tree) if is_private(name)}


def private(tree: ast.AST) -> Iterator[str]:
    """Uses of names and keys that belong to others."""
    own = own_names(tree) - names_of_optuna()
    for node in ast.walk(tree):
        match node:
            case (
                ast.Attribute(value=ast.Name(id="self" | "cls"))
                | ast.Attribute(value=ast.Call(func=ast.Name(id="super")))
            ):
                pass  # see `test_no_class_uses_private_names_of_what_it_derives_from`
            case ast.Attribute(attr=attr) if is_private(attr) and attr not in own | OF_NAMED_TUPLES:
                yield ast.unparse(node)
            case ast.Import(names=names):
                yield from (each.name for each in names if has_private_part(each.name))
            case ast.ImportFrom(module=str(module), names=names):
                yield from (
                    f"{module}.{each.name}" for each in names if has_private_part(module) or is_private(each.name)
                )
            case ast.Call(func=ast.Name(id=func), args=[_, ast.Constant(value=str(name)), *_]):
                if func in _ATTRIBUTE_CALLS and is_private(name):
                    yield ast.unparse(node)
            case ast.Constant(value=str(text)):
                if _TARGET.fullmatch(text) and has_private_part(text):
                    yield text
                yield from (text for key in KEYS if text.startswith(key) and text[len(key) :][:1] != " ")


def test_no_private_name_or_key_of_others_is_used() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}: {name}"
        for file in FILES
        for name in private(ast.parse(file.read_text()))
        if name not in DOCUMENTED
    ]
    assert found == [], f"use public names, or put these into one of {', '.join(PLACES)}"


@pytest.mark.parametrize(
    "source",
    [
        "trial._trial_id",
        "self._storage = 1\nstudy._storage",
        "from optuna.storages._rdb import models",
        "from optuna.study import _frozen",
        "import torch._dynamo",
        "getattr(sampler, '_search_space', None)",
        "torch._foreach_copy_(a, b)",
        "attrs['fixed_params']",
        "key.startswith('completed_rung_')",
        "f'constraints:{name}'",
        "'torch.optim:_Hidden'",
        "super()._x._y",
    ],
)
def test_what_is_private_is_found(source: str) -> None:
    assert list(private(ast.parse(source)))


@pytest.mark.parametrize("source", ["self._own = 1\nother._own", "'constraints: none'", "os.__name__", "self._x"])
def test_what_is_ours_is_not(source: str) -> None:
    assert list(private(ast.parse(source))) == []


def derived_classes() -> Iterator[type]:
    """All classes of the product outside of those places, that derive from classes of other libraries."""
    for module in pkgutil.walk_packages([str(PACKAGE)], "cifar_tune."):
        file = PACKAGE / f"{module.name.partition('.')[2].replace('.', '/')}.py"
        if file not in FILES or module.name.endswith(("__main__", "preloaded", "ray_actor")):
            continue
        for each in vars(importlib.import_module(module.name)).values():
            if isinstance(each, type) and each.__module__ == module.name:
                yield each


def test_no_class_uses_private_names_of_what_it_derives_from() -> None:
    """A name of our own that the other library uses too is as bad as one of theirs that we use."""
    found = set()
    classes = list(derived_classes())
    for kind in classes:
        roots = {base: base.__module__.partition(".")[0] for base in kind.__mro__[1:]}
        bases = [base for base, root in roots.items() if root not in {"cifar_tune", *sys.stdlib_module_names}]
        if bases:
            tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
            used = {
                node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr)
            } | {name for name in vars(kind) if is_private(name) and name not in OF_PYTHON}
            theirs = set[str]().union(*(private_names_of(base) for base in bases))
            found |= {(kind.__qualname__, name) for name in used & theirs}
    assert len(classes) > 100
    assert found == set()
