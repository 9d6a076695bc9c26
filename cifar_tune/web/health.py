"""Whether the service lives, whether it can do its work, and its figures."""

from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter, Response
from optuna.exceptions import StorageInternalError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse

from cifar_tune.errors import CifarTuneError
from cifar_tune.service import rights
from cifar_tune.web.here import Caller, Here, HereNow
from cifar_tune.web.metrics import CONTENT_TYPE
from cifar_tune.web.models.administration import Alive, Ready

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="healthz")
async def healthz() -> Alive:
    """The process answers. Nobody is asked for a token."""
    return Alive()


@router.get(
    "/readyz", responses={HTTPStatus.SERVICE_UNAVAILABLE.value: {"model": Ready, "description": "Something is amiss."}},
    operation_id="readyz", response_model=Ready,
)  # fmt: skip
def readyz(here: HereNow) -> Response:
    """Whether the service can do its work: the database answers, and the server's loop goes on.

    Nobody is asked for a token, and nobody learns anything about studies or people.
    """
    parts = {"database": _looked(lambda: _database(here)), **{name: _looked(look) for name, look in here.parts.items()}}
    is_ready = all(said == "ok" for said in parts.values())
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(Ready(ready=is_ready, parts=parts).model_dump(), status.value)


@router.get("/metrics", response_class=Response, operation_id="metrics")
def metrics(here: HereNow, caller: Caller) -> Response:
    """Figures for Prometheus, which sends a token: `authorization: {credentials_file: ...}` in its configuration."""
    rights.require(caller, "read", None, "see figures")
    here.metrics.listeners.set(here.listeners.open)
    return Response(here.metrics.text(), media_type=CONTENT_TYPE)


def _database(here: Here) -> str:
    with here.engine.connect() as connection:
        connection.execute(select(1))
    return "ok"


def _looked(look: Callable[[], str]) -> str:
    try:
        return look()
    except (SQLAlchemyError, StorageInternalError, CifarTuneError):
        return "does not answer"
