"""Who may do what, in one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cifar_tune.errors import enumerate_names
from cifar_tune.service.people import ROLES, Actor, Role
from cifar_tune.service.refusals import NotAllowedError


@dataclass(frozen=True, slots=True)
class Right:
    """The least role for something of one's own, and the least role for something of others (or of nobody)."""

    own: Role
    foreign: Role


RIGHTS: Final[Mapping[str, Right]] = {
    "read": Right("viewer", "viewer"),
    "submit": Right("editor", "admin"),  # of others: a study that `run` has made, which belongs to nobody
    "pause": Right("editor", "admin"),
    "resume": Right("editor", "admin"),
    "cancel": Right("editor", "admin"),
    "priority": Right("editor", "admin"),
    "workers": Right("editor", "admin"),
    "stop": Right("editor", "admin"),
    "delete": Right("editor", "admin"),
    "token.list": Right("viewer", "admin"),
    "token.create": Right("admin", "admin"),
    "token.revoke": Right("viewer", "admin"),
    "owner.list": Right("viewer", "viewer"),
    "owner.set": Right("admin", "admin"),
}
"""All that can be asked for, by the name that it has in the record of events too."""


def is_allowed(actor: Actor, action: str, owner: str | None) -> bool:
    """Whether somebody may do this with what belongs to `owner` (None: nobody)."""
    right = RIGHTS[action]
    return actor.is_at_least(right.own if owner == actor.name else right.foreign)


def require(actor: Actor, action: str, owner: str | None, what: str) -> None:
    """Refuse what somebody may not do.

    Args:
        actor: who asks.
        action: a key of RIGHTS.
        owner: whose it is; None if nobody's.
        what: they want, such as `cancel the study 'x'`.

    Raises:
        NotAllowedError: saying who may.
    """
    if is_allowed(actor, action, owner):
        return
    right = RIGHTS[action]
    if actor.is_at_least(right.own):
        whose = f", which belongs to {owner}" if owner is not None else ""
        raise NotAllowedError(f"{actor.name} may not {what}{whose}; ask {_who_may(right.foreign)}")
    needed = right.own if owner == actor.name or owner is None else right.foreign
    raise NotAllowedError(f"{actor.name} may not {what}: the role is {actor.role}, and this takes {_who_may(needed)}")


def _who_may(least: Role) -> str:
    names = ROLES[ROLES.index(least) :]
    return f"an {enumerate_names(names)}" if names[0] != "viewer" else "any role"
