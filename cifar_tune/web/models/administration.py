"""What is sent and answered about events, tokens, owners and the service itself."""

from typing import Any, Literal

from pydantic import Field

from cifar_tune.service.people import Role
from cifar_tune.web.models import Model


class EventTold(Model):
    """Something that somebody did, or tried to do."""

    id: int = Field(examples=[41])
    at: float = Field(examples=[1767225600.0])
    """In seconds since the epoch."""
    actor: str = Field(examples=["ada"])
    action: str = Field(examples=["submit"])
    target: str | None = Field(examples=["digits"])
    outcome: Literal["done", "refused", "failed"] = Field(examples=["done"])
    detail: dict[str, Any] = Field(examples=[{"priority": 0}])


class Events(Model):
    """A page of events, the oldest first."""

    events: list[EventTold]
    last: int = Field(examples=[41])
    """Ask for what comes later with `after` set to this."""


class NewToken(Model):
    """A token to be made."""

    owner: str = Field(min_length=1, max_length=100, examples=["ada"])
    """Who will use it."""
    role: Role = Field("viewer", examples=["editor"])
    label: str = Field("", max_length=100, examples=["laptop"])
    """What it is for."""
    expires_at: float | None = Field(None, examples=[1798761600.0])
    """In seconds since the epoch; null: it is valid until it is revoked."""


class TokenTold(Model):
    """A token without its secret. Times are seconds since the epoch."""

    id: int = Field(examples=[3])
    owner: str = Field(examples=["ada"])
    role: Role = Field(examples=["editor"])
    label: str = Field(examples=["laptop"])
    created_by: str = Field(examples=["root"])
    created_at: float = Field(examples=[1767225600.0])
    expires_at: float | None = Field(examples=[None])
    used_at: float | None = Field(examples=[None])
    revoked_at: float | None = Field(examples=[None])


class MadeToken(TokenTold):
    """A token that was just made. The secret is shown here, and never again."""

    secret: str = Field(examples=["ct_..."])


class Tokens(Model):
    """Tokens, the oldest first."""

    tokens: list[TokenTold]


class Me(Model):
    """Who asks."""

    name: str = Field(examples=["ada"])
    role: Role = Field(examples=["editor"])


class OwnerTold(Model):
    """What somebody may use; null as for `*`, and of `*` weight 1 and no limits."""

    name: str = Field(examples=["ada"])
    """The person; `*` stands for everybody for whom nothing else is said."""
    weight: float | None = Field(examples=[2.0])
    """Of the fair share of device time."""
    slots: int | None = Field(examples=[4])
    """The most slots at a time."""
    queued: int | None = Field(examples=[20])
    """The most studies that may wait."""
    trials: int | None = Field(examples=[5000])
    """The most trials in studies that have not ended, together."""


class OwnerChange(Model):
    """What somebody may use from now on; null leaves a thing as it is."""

    weight: float | None = Field(None, gt=0, le=1e6, examples=[2.0])
    slots: int | None = Field(None, ge=0, lt=2**31, examples=[4])
    queued: int | None = Field(None, ge=0, lt=2**31, examples=[20])
    trials: int | None = Field(None, ge=0, lt=2**31, examples=[5000])
    resets: bool = Field(False, examples=[False])
    """What is null is left to `*` from now on."""


class Owners(Model):
    """What is said of owners."""

    owners: list[OwnerTold]


class Alive(Model):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(Model):
    """Whether the service can do its work, and each part of it."""

    ready: bool = Field(examples=[True])
    parts: dict[str, str] = Field(examples=[{"database": "ok", "server": "ok", "coordinators": "ok"}])
    """ok, or what is wrong, by the part's name."""
