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


def with_linked(study: str) -> tuple[str, ...]:
    """The names of a study, and of those that `finalize` may make for it."""
    return study, linked_name(study, FINALS), linked_name(study, NETWORKS)


def parent_of(name: str) -> str | None:
    """The study that a linked study belongs to; None of other studies."""
    found = _LINKED.fullmatch(name)
    return None if found is None else found[1]


def is_networks(name: str) -> bool:
    """Whether this study has the networks of `finalize`, so that all figures in it are of images trained on."""
    return _kind_of(name) == NETWORKS


def linked_words(name: str) -> str:
    """What a linked study is, and where its result is shown, in sentences; empty for other studies."""
    parent, kind = parent_of(name), _kind_of(name)
    if parent is None:
        return ""
    where = f"The result is in the report of {parent}."
    if kind == NETWORKS:
        return (
            f"These are the networks of {parent} that finalize trains for the test. Each one is trained on all images "
            f"that are not test images, also on those of the validation split. So all figures here are of images that "
            f"the network was trained on. They show whether a training went well, and nothing about new images. None "
            f"of the networks is chosen. {where}"
        )
    return (
        f"This is the race of {parent}: finalize trains its best trials again with fresh seeds. Many trainings of a "
        f"trial decide together, so none of the trials here is the best one. {where}"
    )


def _kind_of(name: str) -> str | None:
    found = _LINKED.fullmatch(name)
    return None if found is None else found[2]


def linked_to(study: str, names: Iterable[str]) -> list[str]:
    """Those of the names that are studies linked to this one."""
    return [name for name in names if parent_of(name) == study]
