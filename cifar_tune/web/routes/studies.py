"""Reading studies: lists, one study, its trials, results, files and log."""

import mimetypes
import os
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from io import BufferedReader
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from optuna.trial import TrialState

from cifar_tune.service import rights
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.service.submissions import State
from cifar_tune.web.guards import REPORT_POLICY
from cifar_tune.web.here import AtDesk, Caller, Here, HereNow, Reader, StudyRoute
from cifar_tune.web.listing import Order, Wish, list_studies, owner_of
from cifar_tune.web.models.queueing import SoFarTold, told
from cifar_tune.web.models.studies import (
    BestConfiguration,
    ComparisonTold,
    Files,
    FileTold,
    Front,
    ImportancesTold,
    Live,
    LogPart,
    Study,
    StudyList,
    Trial,
    TrialDetail,
    TrialList,
)
from cifar_tune.web.problems import answers
from cifar_tune.web.routes import PREFIX
from cifar_tune.web.routes.queueing import Name
from cifar_tune.web.study_logs import read_log

router = APIRouter(
    prefix=PREFIX,
    tags=["studies"],
    responses=answers(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    route_class=StudyRoute,
)

_PIECE_BYTES = 1 << 18
_CHANGES = ("pause", "resume", "cancel", "priority", "workers", "stop", "delete")

TrialNumber = Annotated[int, Path(ge=0, le=2**31 - 1, description="The trial's number.", examples=[0])]
StateName = Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING"]
_BY_KNOB = answers(HTTPStatus.UNPROCESSABLE_ENTITY)

Knob = Annotated[str, Query(max_length=200, description="The knob whose levels are compared.", examples=["optimizer"])]
ComparisonFile = Annotated[
    Literal["md", "csv", "png", "svg", "pdf"], Path(description="The end of the file's name.", examples=["png"])
]
Formats = Annotated[
    list[Literal["svg", "pdf"]] | None,
    Query(
        alias="format",
        max_length=2,
        description="Also name each picture as svg or pdf, as `cifar-tune export --format` writes it.",
        examples=[["svg"]],
    ),
]
FileName = Annotated[str, Path(max_length=300, description="The name of a file of the list.", examples=["trials.csv"])]


@router.get("/studies", operation_id="studies")
def studies(
    here: HereNow,
    _reader: Reader,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1, description="How many studies to skip.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500, description="The largest number of items in the answer.")] = 50,
    owner: Annotated[
        str | None, Query(max_length=100, description="Only studies of this owner.", examples=["ada"])
    ] = None,
    state: Annotated[
        list[State] | None,
        Query(max_length=6, description="Only studies whose newest submission is in one of these states."),
    ] = None,
    contains: Annotated[
        str | None, Query(max_length=100, description="Only studies with this text in their name.", examples=["res"])
    ] = None,
    order: Annotated[Order, Query(description="The newest first, or by name.")] = "newest",
    details: Annotated[bool, Query(description="Whether to include the whole status of each study.")] = False,
) -> StudyList:
    """All studies, page by page, also those of `cifar-tune run`."""
    wish = Wish(owner, state, contains, order)
    most = min(limit, here.settings.limits.page)
    return list_studies(
        here.engine, here.summaries, wish, offset, most, here.studies.status_or_why if details else None
    )


@router.get("/studies/{name:path}/live", operation_id="live")
def live(name: Name, here: HereNow, _reader: Reader) -> Live:
    """One study as it stands, with the trials that run and those that ended last: what its stream says, once."""
    return Live.model_validate_json(here.studies.live(name)[1])


@router.get("/studies/{name:path}/trials", operation_id="trials")
def trials(
    name: Name,
    here: HereNow,
    _reader: Reader,
    first: Annotated[int, Query(ge=0, le=2**31 - 1, description="The number of the first trial.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500, description="The largest number of items in the answer.")] = 100,
    state: Annotated[
        list[StateName] | None, Query(max_length=5, description="Only trials in one of these states.")
    ] = None,
) -> TrialList:
    """The trials in the order of their numbers, running ones too, with the value after each epoch."""
    most = min(limit, here.settings.limits.page)
    states = None if state is None else [TrialState[each] for each in state]
    found = here.studies.trials(name, first, most, states)
    following = found[-1]["number"] + 1 if len(found) == most else None
    return TrialList(trials=[Trial.model_validate(each) for each in found], next=following)


@router.get("/studies/{name:path}/trials/{number}", operation_id="trial")
def trial(name: Name, number: TrialNumber, here: HereNow, _reader: Reader) -> TrialDetail:
    """One trial with its configuration, and all figures of all its epochs."""
    return TrialDetail.model_validate(here.studies.trial(name, number))


@router.get("/studies/{name:path}/best", operation_id="best")
def best(name: Name, here: HereNow, _reader: Reader) -> BestConfiguration:
    """The winner of the race, or else the best configuration so far: every knob, and the text of `best.yaml`."""
    return BestConfiguration.model_validate(here.results.best(name))


@router.get("/studies/{name:path}/front", operation_id="front")
def front(name: Name, here: HereNow, _reader: Reader) -> Front:
    """The Pareto front, the best first objective first; with one objective only the best trial."""
    return Front.model_validate({"trials": here.results.front(name)})


@router.get("/studies/{name:path}/importances", operation_id="importances")
def importances(name: Name, here: HereNow, _reader: Reader) -> ImportancesTold:
    """How much each searched knob had to do with reaching the best trials so far."""
    return ImportancesTold.model_validate(here.results.importances(name))


@router.get("/studies/{name:path}/report", operation_id="report_files")
def report(name: Name, here: HereNow, _reader: Reader, formats: Formats = None) -> Files:
    """The files that `cifar-tune export` would write now."""
    return Files(files=[FileTold(name=each, size=None) for each in here.results.report(name, formats or ())])


@router.get("/studies/{name:path}/report/{file:path}", response_class=Response, operation_id="report_file")
def report_file(name: Name, file: FileName, here: HereNow, _reader: Reader) -> Response:
    """One of these files, such as `report.html`, `trials.csv`, `summary.json` or `best.yaml`.

    Each picture can be had as `.png`, `.svg` and `.pdf`.
    """
    return _file(here.results.report_file(name, file), file)


@router.get("/studies/{name:path}/compare", responses=_BY_KNOB, operation_id="compare")
def compare(name: Name, here: HereNow, _reader: Reader, by: Knob) -> ComparisonTold:
    """The levels of one knob side by side, as `cifar-tune compare` shows them: figures, a table, and conditions."""
    return ComparisonTold.model_validate(here.results.comparison(name, by))


@router.get(
    "/studies/{name:path}/compare/{kind}", response_class=Response, responses=_BY_KNOB, operation_id="compare_file"
)
def compare_file(name: Name, kind: ComparisonFile, here: HereNow, _reader: Reader, by: Knob) -> Response:
    """The same as a file: the table as Markdown or CSV, or the picture."""
    return _file(here.results.comparison_file(name, by, kind), f"compare.{kind}")


@router.get("/studies/{name:path}/model", operation_id="model_files")
def model(name: Name, here: HereNow, _reader: Reader) -> Files:
    """The files of the model that `cifar-tune finalize` has kept."""
    return Files(files=[FileTold(name=each, size=size) for each, size in here.results.model(name).items()])


@router.get("/studies/{name:path}/model/{file:path}", response_class=Response, operation_id="model_file")
def model_file(name: Name, file: FileName, here: HereNow, _reader: Reader) -> Response:
    """One of these files."""
    opened = here.results.model_file(name, file)
    size = os.fstat(opened.fileno()).st_size
    headers = {**_headers(file), "Content-Length": str(size)}
    return StreamingResponse(_pieces(opened, size), media_type=_kind(file), headers=headers)


def _pieces(file: BufferedReader, size: int) -> Iterator[bytes]:
    """The content, piece by piece: a model may be larger than what is left of the memory."""
    with file:
        while size > 0 and (piece := file.read(min(size, _PIECE_BYTES))):
            size -= len(piece)
            yield piece


@router.get("/studies/{name:path}/log", operation_id="log")
def log(
    name: Name,
    here: HereNow,
    desk: AtDesk,
    offset: Annotated[int, Query(ge=0, le=2**53, description="How many bytes to skip.")] = 0,
) -> LogPart:
    """The log of the newest submission, from `offset` on, at most 64 KiB."""
    text, following = read_log(desk.submission(name), offset)
    return LogPart(text=text, next=following)


@router.get("/studies/{name:path}", operation_id="study")
def study(name: Name, here: HereNow, caller: Caller) -> Study:
    """One study: its submission, its status, and what you may do with it."""
    return read_one(here, caller, name)


def read_one(here: Here, caller: Actor, name: str) -> Study:
    """One study as it is answered.

    Raises:
        UnknownStudyError: there is none of this name.
    """
    owner = owner_of(here.engine, name)
    submission = None if owner is None else told(here.desk(caller, tells_progress=False).submission(name))
    try:
        status = here.studies.status(name)
        if submission is not None:
            submission = submission.model_copy(update={"so_far": _so_far(status)})
    except UnknownStudyError:
        if submission is None:
            raise
        status = None  # it waits for its first run
    allowed = [action for action in _CHANGES if rights.is_allowed(caller, action, owner)]
    return Study(name=name, owner=owner, submission=submission, status=status, rights=allowed)


def _so_far(status: Mapping[str, Any]) -> SoFarTold:
    best = status["best"] or {}
    running = status["counts"].get("RUNNING", 0)
    return SoFarTold(
        finished=status["finished"], running=running, metric=status["objective"], best=best.get("value"),
        trial=best.get("number"),
    )  # fmt: skip


_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
}


def _file(content: bytes, name: str) -> Response:
    return Response(content, media_type=_kind(name), headers=_headers(name))


def _kind(name: str) -> str:
    return _TYPES.get(_suffix(name)) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _headers(name: str) -> dict[str, str]:
    headers = {"Content-Security-Policy": REPORT_POLICY}
    if _suffix(name) not in _TYPES:
        headers["Content-Disposition"] = "attachment"
    return headers


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
