"""Places in nested mappings and lists, for fuzz runs that change one of them."""

from collections.abc import Mapping
from typing import Any


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside of `value`."""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, item in inner:
        found += places(item, (*path, key))
    return found


def value_at(tree: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a path."""
    for key in path:
        tree = tree[key]
    return tree
