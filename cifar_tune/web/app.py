"""The service as an ASGI application."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from sqlalchemy.engine import URL
from starlette.middleware import Middleware

from cifar_tune import __version__
from cifar_tune.dashboard.host_names import own_names
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.web import assets, health
from cifar_tune.web.dashboard_gate import mount_dashboard
from cifar_tune.web.guards import Guards
from cifar_tune.web.here import Here, no_slots
from cifar_tune.web.metrics import Metrics
from cifar_tune.web.models.queueing import Slots
from cifar_tune.web.pages import logging_in, oidc_pages, people_pages
from cifar_tune.web.pages.rendering import as_page
from cifar_tune.web.problems import ProblemDetails, add_handlers, answers
from cifar_tune.web.reading import Studies
from cifar_tune.web.routes import PREFIX, administration, queueing, studies, watching
from cifar_tune.web.settings import HTTPS_PORT, WebSettings, check_settings
from cifar_tune.web.shared_answers import Sharing

_DESCRIPTION = """
Hyperparameter optimization for image classifiers, for several people. Send a token with each request:
`Authorization: Bearer ct_...`. Errors are problem details (RFC 9457). Keys are added in later versions of the program,
and none changes its meaning or goes away under `/v1`.
"""


def create_app(
    storage: BatchStorage,
    url: URL,
    settings: WebSettings,
    slots: Callable[[], Slots] | None = None,
    parts: Mapping[str, Callable[[], str]] | None = None,
) -> FastAPI:
    """Make the application. The tables of the service are there already (`cifar_tune.service.schema.upgrade`).

    Args:
        storage: that holds the studies.
        url: of the storage.
        settings: what the administrator has decided.
        slots: what the machine has, and who uses it; None where there is no server that gives them out.
        parts: of the service, for `/readyz`: each says `ok`, or what is wrong with it.

    Raises:
        UserError: the settings let strangers in, or cannot work.
    """
    check_settings(settings)
    held = slots or no_slots
    here = Here(
        storage.engine, url, settings, Studies(storage, url), Metrics(storage.engine, held), dict(parts or {}), held
    )
    allowed = settings.names
    guards = Middleware(
        Guards,
        host=settings.host,
        names=own_names(settings.host, allowed),
        allowed=allowed,
        body_seconds=settings.limits.body_seconds,
        only_tls=settings.has_tls and settings.port == HTTPS_PORT,  # it holds for what else the machine serves
        seen=here.metrics.seen,
    )
    app = FastAPI(
        title="cifar-tune",
        version=__version__,
        description=_DESCRIPTION.strip(),
        docs_url=None,  # these pages take their scripts from the network
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        middleware=[guards, Middleware(Sharing, lambda: here.answers)],
        max_body_size=settings.limits.body_bytes,
        redirect_slashes=False,
    )
    app.state.here = here
    add_handlers(app, as_page)
    everywhere = answers(401, 403, 408, 413, 422, 429, 503)
    for each in (watching.router, queueing.router, studies.router, administration.router):
        app.include_router(each, responses=everywhere)
    app.include_router(health.router)
    for each in (assets.router, logging_in.router, oidc_pages.router, people_pages.router):
        app.include_router(each)
    mount_dashboard(app, here)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, in which each error is a problem."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document["components"]["schemas"]
        problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs"))
        schemas["ProblemDetails"] = problem
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema
