"""Submitting studies, and changing what is queued or runs."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from cifar_tune.errors import Problem, UserError
from cifar_tune.service import rights
from cifar_tune.web.here import AtDesk, Caller, HereNow
from cifar_tune.web.models.queueing import Change, Deleted, NewStudy, Queue, Slots, StoppedTold, SubmissionTold, told
from cifar_tune.web.problems import answers
from cifar_tune.web.routes import PREFIX

router = APIRouter(prefix=PREFIX, tags=["queue"])

Name = Annotated[str, Path(max_length=500, description="The study's name.", examples=["digits"])]

_CHANGING = answers(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


@router.post(
    "/studies",
    status_code=HTTPStatus.CREATED,
    responses=answers(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT),
    operation_id="submit",
)
def submit(new: NewStudy, desk: AtDesk, response: Response) -> SubmissionTold:
    """Queue a study.

    The text is checked as by `cifar-tune check`, without training. The answer names all mistakes at once, with lines,
    keys, values and rules. An answer of 201 is a promise: the study is stored, and will run.
    """
    made = desk.submit(new.text, new.file, new.overrides, new.priority, new.workers, new.notify)
    response.headers["Location"] = f"/v1/studies/{made.study}"
    return told(made)


@router.get("/queue", response_model=Queue, operation_id="queue")
def queue(here: HereNow, desk: AtDesk) -> Response:
    """All studies that have not ended: running ones, waiting ones in their order with the reason, and paused ones."""
    return Response(here.queue_texts.of(desk), media_type="application/json")


@router.get("/slots", operation_id="slots")
def slots(here: HereNow, caller: Caller) -> Slots:
    """The slots of the machine, and which study runs on each."""
    rights.require(caller, "read", None, "see slots")
    return here.slots()


@router.patch("/studies/{name:path}", responses=_CHANGING, operation_id="change")
def change(name: Name, wanted: Change, desk: AtDesk) -> SubmissionTold:
    """Change the priority or the number of workers, pause or resume; what is left out stays as it is."""
    found = None
    given = wanted.model_fields_set
    if wanted.priority is not None:
        found = desk.set_priority(name, wanted.priority)
    if "workers" in given:
        found = desk.set_workers(name, wanted.workers)
    if wanted.wanted is not None:
        found = desk.pause(name) if wanted.wanted == "pause" else desk.resume(name)
    return told(found or desk.submission(name))


@router.post("/studies/{name:path}/pause", responses=_CHANGING, operation_id="pause")
def pause(name: Name, desk: AtDesk) -> SubmissionTold:
    """Pause a study until somebody resumes it. Running trials are parked, and nothing is lost."""
    return told(desk.pause(name))


@router.post("/studies/{name:path}/resume", responses=_CHANGING, operation_id="resume")
def resume(name: Name, desk: AtDesk) -> SubmissionTold:
    """Queue a paused study again."""
    return told(desk.resume(name))


@router.post("/studies/{name:path}/cancel", responses=_CHANGING, operation_id="cancel")
def cancel(name: Name, desk: AtDesk) -> SubmissionTold:
    """End a study. Running trials are parked, and the results stay."""
    return told(desk.cancel(name))


@router.post("/studies/{name:path}/stop", responses=_CHANGING, operation_id="stop")
def stop(name: Name, desk: AtDesk) -> StoppedTold:
    """Park running trials after their epoch, also those of a plain `cifar-tune run`. A submitted study is paused."""
    return StoppedTold.model_validate(desk.stop(name))


@router.delete("/studies/{name:path}", responses=_CHANGING, operation_id="delete")
def delete(
    name: Name,
    desk: AtDesk,
    confirm: Annotated[
        str, Query(max_length=500, description="The study's name once more, to confirm.", examples=["digits"])
    ],
) -> Deleted:
    """Remove a study that has ended, with its trials and checkpoints. This cannot be undone."""
    if confirm != name:
        raise UserError(Problem(f"must be {name!r}, to confirm that this study is to be removed", "confirm", confirm))
    gone = desk.delete(name)
    return Deleted(study=gone.study, linked=list(gone.linked), left=[each.name for each in gone.left])


@router.get("/submissions", operation_id="submissions")
def submissions(
    here: HereNow,
    desk: AtDesk,
    owner: Annotated[str | None, Query(max_length=100, description="Only those of this owner.")] = None,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="Only those with a lower number.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="The largest number of items in the answer.")] = 50,
) -> Queue:
    """All submissions, also those that have ended, the newest first."""
    most = min(limit, here.settings.limits.page)
    return Queue(submissions=[told(each, with_text=False) for each in desk.submissions(None, owner, before, most)])


@router.get("/submissions/{name:path}", responses=answers(HTTPStatus.NOT_FOUND), operation_id="submission")
def submission(name: Name, desk: AtDesk, _caller: Caller) -> SubmissionTold:
    """The newest submission of a study, with the text of its study file."""
    return told(desk.submission(name))
