"""The pages: all studies, one study, slots, events, submitting."""

from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.exceptions import HTTPException

from cifar_tune.optuna_questions import ids_of_studies
from cifar_tune.service import rights
from cifar_tune.service.people import Actor
from cifar_tune.service.submissions import State, first_of_queue
from cifar_tune.storage.attributes import why_stopped
from cifar_tune.web.busy_slots import busy_over_time
from cifar_tune.web.here import HereNow, StudyRoute
from cifar_tune.web.listing import Wish, list_with
from cifar_tune.web.pages.rendering import page
from cifar_tune.web.routes.queueing import Name
from cifar_tune.web.routes.studies import read_one

router = APIRouter(include_in_schema=False, route_class=StudyRoute)

_PAGE = 25
"""Rows of each of the two tables of studies."""
_EVENTS = 100
_EXAMPLE = """\
name: my-study
data: {name: digits}
budget: {trials: 20}
train: {model: cnn2, epochs: 3}
search_space:
  lr: {low: 1e-4, high: 1.0, log: true}
"""
_HOURS = 6


def visitor_of(request: Request, here: HereNow) -> Actor:
    """Who looks at a page; whoever is not known is sent to the log-in page."""
    actor = here.door.actor_of(request)
    if actor is None:
        query = request.scope["query_string"].decode("latin-1")
        target = quote(f"{request.scope['path']}{'?' if query else ''}{query}")
        raise HTTPException(HTTPStatus.SEE_OTHER, headers={"Location": f"/login?next_page={target}"})
    rights.require(actor, "read", None, "see studies")
    return actor


Visitor = Annotated[Actor, Depends(visitor_of)]


@router.get("/")
def studies_page(
    request: Request,
    here: HereNow,
    visitor: Visitor,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    contains: Annotated[str, Query(max_length=100)] = "",
    owner: Annotated[str, Query(max_length=100)] = "",
    state: State | Literal[""] = "",
) -> Response:
    """What is queued, and all studies."""
    with here.engine.connect() as connection:
        queue, living = first_of_queue(connection, _PAGE)
    wish = Wish(owner or None, [state] if state else None, contains or None)
    listed, told = list_with(here.engine, here.summaries, wish, offset, _PAGE, [each.study for each in queue])
    return page(
        request,
        visitor,
        "studies.html",
        queue=[(each, told.get(each.study)) for each in queue],
        more=living - len(queue),
        listed=listed,
        shown_owner=owner,
        shown_contains=contains,
        shown_state=state,
        earlier=max(0, offset - _PAGE),
        later=offset + _PAGE,
    )


@router.get("/studies/{name:path}")
def study_page(request: Request, name: Name, here: HereNow, visitor: Visitor) -> Response:
    """One study, live."""
    found = read_one(here, visitor, name)
    stored = ids_of_studies(here.engine, [name]).get(name)
    status = found.status
    return page(
        request,
        visitor,
        "study.html",
        study=found,
        status=status,
        stopped=None if not status or status["stopped"] is None else why_stopped(status["stopped"]),
        best=here.results.best(name) if status and status["best"] else None,
        dashboard="" if stored is None else f"/dashboard/studies/{stored}",
    )


@router.get("/slots")
def slots_page(request: Request, here: HereNow, visitor: Visitor) -> Response:
    """The slots of the machine: who uses them now, and how many were busy in the last hours."""
    found = here.slots()
    course = busy_over_time(here.engine, _HOURS, len(found.slots))
    return page(
        request,
        visitor,
        "slots.html",
        slots=found.slots,
        busy=found.busy,
        as_of=found.as_of,
        course=course,
        hours=_HOURS,
    )


@router.get("/events")
def events_page(
    request: Request, here: HereNow, visitor: Visitor, after: Annotated[int | None, Query(ge=0, le=2**53)] = None
) -> Response:
    """Who did what; the newest last."""
    found = here.desk(visitor).events(after, _EVENTS)
    earlier = None if not found or found[0].id <= 1 else max(0, found[0].id - _EVENTS - 1)
    later = found[-1].id if found and after is not None and len(found) == _EVENTS else None
    return page(request, visitor, "events.html", events=found, earlier=earlier, later=later)


@router.get("/submit")
def submit_page(request: Request, visitor: Visitor) -> Response:
    """A study file to be written or pasted."""
    rights.require(visitor, "submit", visitor.name, "submit a study")
    return page(request, visitor, "submit.html", example=_EXAMPLE)
