"""What is sent and answered about events, tokens, owners and the service itself."""

from typing import Annotated, Any, Literal

from pydantic import Field

from cifar_tune.service.owners import HEAVIEST, LIGHTEST, MOST
from cifar_tune.service.people import Role
from cifar_tune.service.tables import LONGEST_NAME
from cifar_tune.web.models import Model

# the desk refuses what lies outside, so that the words are the same as on the database
Weight = Annotated[float, Field(json_schema_extra={"minimum": LIGHTEST, "maximum": HEAVIEST})]
Limit = Annotated[int, Field(json_schema_extra={"minimum": 0, "maximum": MOST})]


class EventTold(Model):
    """Something that somebody did, or tried to do."""

    id: int = Field(examples=[41])
    """Its number: 1, 2, 3 and so on, without gaps."""
    at: float = Field(examples=[1767225600.0])
    """When it happened, in seconds since the epoch."""
    actor: str = Field(examples=["ada"])
    """Who did it: a person, or `server`."""
    action: str = Field(examples=["submit"])
    """What was done, such as `submit`."""
    target: str | None = Field(examples=["digits"])
    """What it was done to, such as a study."""
    outcome: Literal["done", "refused", "failed", "asked"] = Field(examples=["done"])
    """Refused: it was not allowed or made no sense, and nothing has changed. Failed: it was tried, and went wrong.
    Asked: the dashboard was asked to do it, and an event that says what came of it follows."""
    detail: dict[str, Any] = Field(examples=[{"priority": 0}])
    """More about it."""


class Events(Model):
    """A page of events, the oldest first."""

    events: list[EventTold]
    """The events."""
    last: int = Field(examples=[41])
    """For later events, set `after` to this."""


class NewToken(Model):
    """A token to be made."""

    owner: str = Field(json_schema_extra={"minLength": 1, "maxLength": LONGEST_NAME}, examples=["ada"])
    """The person who will use it."""
    role: Role = Field("viewer", examples=["editor"])
    """What its owner may do."""
    label: str = Field("", json_schema_extra={"maxLength": LONGEST_NAME}, examples=["laptop"])
    """A note on what it is for."""
    expires_at: float | None = Field(None, examples=[1798761600.0])
    """When it expires, in seconds since the epoch; null: never."""


class TokenTold(Model):
    """A token without its secret. Times are seconds since the epoch."""

    id: int = Field(examples=[3])
    """Its number."""
    owner: str = Field(examples=["ada"])
    """The person who uses it."""
    role: Role = Field(examples=["editor"])
    """What its owner may do."""
    label: str = Field(examples=["laptop"])
    """A note on what it is for."""
    created_by: str = Field(examples=["root"])
    """Who made it."""
    created_at: float = Field(examples=[1767225600.0])
    """When it was made."""
    expires_at: float | None = Field(examples=[None])
    """When it expires; null: never."""
    used_at: float | None = Field(examples=[None])
    """When it was last used; null: not yet."""
    revoked_at: float | None = Field(examples=[None])
    """When it was revoked; null: it was not."""


class MadeToken(TokenTold):
    """A new token. This is the only answer that shows its secret."""

    secret: str = Field(examples=["ct_..."])
    """What to send as `Authorization: Bearer SECRET`."""


class Tokens(Model):
    """Tokens, the oldest first."""

    tokens: list[TokenTold]
    """The tokens."""


class Me(Model):
    """The person who asks."""

    name: str = Field(examples=["ada"])
    """The person's name."""
    role: Role = Field(examples=["editor"])
    """What this person may do."""


class OwnerTold(Model):
    """What a person may use. Null: the same as for `*`; for `*` itself weight 1 and no limits."""

    name: str = Field(examples=["ada"])
    """The person; `*` stands for everybody without limits of their own."""
    weight: float | None = Field(examples=[2.0])
    """The weight in the fair share of device time."""
    slots: int | None = Field(examples=[4])
    """The largest number of slots at a time."""
    queued: int | None = Field(examples=[20])
    """The largest number of studies that may wait."""
    trials: int | None = Field(examples=[5000])
    """The largest number of trials in all studies that have not ended, together."""


class OwnerChange(Model):
    """What a person may use from now on. Null: no change."""

    weight: Weight | None = Field(None, examples=[2.0])
    """The weight in the fair share of device time."""
    slots: Limit | None = Field(None, examples=[4])
    """The largest number of slots at a time."""
    queued: Limit | None = Field(None, examples=[20])
    """The largest number of studies that may wait."""
    trials: Limit | None = Field(None, examples=[5000])
    """The largest number of trials in all studies that have not ended, together."""
    resets: bool = Field(False, examples=[False])
    """Whether null means: as for `*` from now on."""


class Owners(Model):
    """What people may use."""

    owners: list[OwnerTold]
    """The limits of each person."""


class Alive(Model):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Model):
    """Whether the service can do its work, and each part of it."""

    ready: bool = Field(examples=[True])
    """Whether all parts work."""
    parts: dict[str, str] = Field(examples=[{"database": "ok", "server": "ok", "coordinators": "ok"}])
    """For each part `ok`, or what is wrong."""
