"""Tokens, owners, who asks, and how the service itself does."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path

from cifar_tune.service.owners import Owner
from cifar_tune.service.tables import LONGEST_NAME
from cifar_tune.web.here import AtDesk, Caller
from cifar_tune.web.models.administration import (
    MadeToken,
    Me,
    NewToken,
    OwnerChange,
    Owners,
    OwnerTold,
    Tokens,
    TokenTold,
)
from cifar_tune.web.problems import answers
from cifar_tune.web.routes import PREFIX

router = APIRouter(prefix=PREFIX, tags=["administration"])


@router.get("/me", operation_id="me")
def me(caller: Caller) -> Me:
    """Who you are, and your role."""
    return Me(name=caller.name, role=caller.role)


@router.get("/owners", operation_id="owners")
def owners(desk: AtDesk) -> Owners:
    """Weights and limits of people."""
    return Owners(owners=[OwnerTold.model_validate(each) for each in desk.owners()])


@router.patch("/owners/{name}", responses=answers(HTTPStatus.FORBIDDEN), operation_id="set_owner")
def set_owner(
    name: Annotated[
        str, Path(json_schema_extra={"maxLength": LONGEST_NAME}, description="The person, or `*`.", examples=["ada"])
    ],
    change: OwnerChange,
    desk: AtDesk,
) -> OwnerTold:
    """Set what a person may use. The answer has what holds for them now."""
    wanted = Owner(name, change.weight, change.slots, change.queued, change.trials)
    return OwnerTold.model_validate(desk.set_owner(wanted, change.resets))


@router.get("/tokens", operation_id="tokens")
def tokens(desk: AtDesk) -> Tokens:
    """The tokens: all for an administrator, otherwise your own. Their secrets are not stored."""
    return Tokens(tokens=[TokenTold.model_validate(each) for each in desk.tokens()])


@router.post(
    "/tokens",
    status_code=HTTPStatus.CREATED,
    responses=answers(HTTPStatus.FORBIDDEN),
    operation_id="create_token",
)
def create_token(new: NewToken, desk: AtDesk) -> MadeToken:
    """Make a token. Only this answer has its secret."""
    token, secret = desk.create_token(new.owner, new.role, new.label, new.expires_at)
    return MadeToken(**TokenTold.model_validate(token).model_dump(), secret=secret)


@router.delete(
    "/tokens/{number}",
    responses=answers(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT),
    operation_id="revoke_token",
)
def revoke_token(
    number: Annotated[
        int,
        Path(json_schema_extra={"minimum": 0, "maximum": 2**31 - 1}, description="The token's number.", examples=[3]),
    ],
    desk: AtDesk,
) -> TokenTold:
    """Revoke a token. Sessions of browsers that logged in with it end too."""
    return TokenTold.model_validate(desk.revoke_token(number))
