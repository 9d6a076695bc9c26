"""Studies that belong to another one: `NAME/finals` and `NAME/networks`. No study file can have such a name.

`cifar-tune finalize` makes them, and the coordinator runs them as it runs any study. What they are for stands in their
attribute `attributes.LINKED`.
"""

import re
from collections.abc import Iterable

FINALS, NETWORKS = "finals", "networks"
"""What `finalize` trains to choose a configuration, and then to test it."""

_LINKED = re.compile(rf"(.+)/({FINALS}|{NETWORKS})", re.DOTALL)


def linked_name(study: str, kind: str) -> str:
    """The name of the study of this kind that belongs to a study."""
    return f"{study}/{kind}"


def parent_of(name: str) -> str | None:
    """The study that a linked study belongs to; None of other studies."""
    found = _LINKED.fullmatch(name)
    return None if found is None else found[1]


def linked_to(study: str, names: Iterable[str]) -> list[str]:
    """Those of the names that are studies linked to this one."""
    return [name for name in names if parent_of(name) == study]
