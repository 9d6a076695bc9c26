"""What can be named in a file: the product's own entries, and those of the plugins in force."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Entries by name, the built-in ones first.

    Attributes:
        built_in: the product's own, whatever is plugged in.
    """

    def __init__(self, built_in: Mapping[str, Entry]) -> None:
        self.built_in = built_in
        self._plugged: Mapping[str, Entry] = {}

    def plug(self, entries: Mapping[str, Entry]) -> None:
        """Have these entries beside the built-in ones, in place of those that were plugged before."""
        self._plugged = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        return self.built_in[name] if name in self.built_in else self._plugged[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from (name for name in self._plugged if name not in self.built_in)

    def __len__(self) -> int:
        return len(self.built_in.keys() | self._plugged.keys())

    def __repr__(self) -> str:
        return f"Registry({dict(self)!r})"
