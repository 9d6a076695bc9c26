"""Which studies there are, page by page: those of the database, and those that wait for their first run."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine, Integer, Row, Select, cast, func, literal, null, select, union_all

from cifar_tune.optuna_tables import STUDIES
from cifar_tune.service.names import owner_of_name
from cifar_tune.service.submissions import State
from cifar_tune.service.tables import NAMES, SUBMISSIONS
from cifar_tune.storage.versions import COPY
from cifar_tune.web.models.studies import StudyList, StudySummary
from cifar_tune.web.summaries import Summaries

Order = Literal["newest", "name"]


@dataclass(frozen=True, slots=True)
class Wish:
    """Which studies are wanted; None leaves a thing open.

    Attributes:
        owner: whose they are.
        states: of the newest submission.
        contains: a part of the name.
        order: of the list.
    """

    owner: str | None = None
    states: Collection[State] | None = None
    contains: str | None = None
    order: Order = "newest"


def list_studies(
    engine: Engine,
    summaries: Summaries,
    wish: Wish,
    offset: int,
    limit: int,
    status_of: Callable[[str], Mapping[str, Any]] | None = None,
) -> StudyList:
    """The studies from position `offset` on, at most `limit` of them.

    Args:
        engine: of the database.
        summaries: of its studies.
        wish: which of them.
        offset: where the page begins.
        limit: of the page.
        status_of: tells the whole status of one that has begun; None where nobody wants that.
    """
    total, page = _page(engine, wish, offset, limit)
    told = summaries.of({row.name: row.stored for row in page})
    shown = [
        StudySummary(
            **told[row.name],
            owner=row.owner,
            state=row.state,
            submission=row.submission,
            status=None if status_of is None or row.stored is None else dict(status_of(row.name)),
        )
        for row in page
    ]
    return StudyList(studies=shown, total=total, offset=offset)


def owner_of(engine: Engine, name: str) -> str | None:
    """Whose a study is; None if nobody has submitted it."""
    with engine.connect() as connection:
        return owner_of_name(connection, name)


def _page(engine: Engine, wish: Wish, offset: int, limit: int) -> tuple[int, list[Row[Any]]]:
    """How many studies are wanted in all, and those of the page."""
    wanted = _wanted(wish)
    with engine.connect() as connection:
        if wish.contains is None and wish.order == "newest":
            total = connection.execute(select(func.count()).select_from(wanted.subquery())).scalar_one()
            return total, list(connection.execute(wanted.offset(offset).limit(limit)))
        found = list(connection.execute(wanted))  # databases differ in what is a capital letter
    part = (wish.contains or "").lower()
    found = [row for row in found if part in row.name.lower()]
    if wish.order == "name":
        found.sort(key=lambda row: (row.name.lower(), row.name))
    return len(found), found[offset : offset + limit]


def _wanted(wish: Wish) -> Select[Any]:
    """The newest first; what waits for its first run is newer than all that has run."""
    newest = select(SUBMISSIONS.c.study, func.max(SUBMISSIONS.c.id).label("id")).group_by(SUBMISSIONS.c.study)
    of_study = newest.subquery()
    submitted = (
        select(SUBMISSIONS.c.study, SUBMISSIONS.c.id, SUBMISSIONS.c.state)
        .join(of_study, of_study.c.id == SUBMISSIONS.c.id)
        .subquery()
    )
    is_stored = select(STUDIES.c.study_id).where(STUDIES.c.study_name == submitted.c.study).exists()
    waiting = select(
        submitted.c.study.label("name"), cast(null(), Integer).label("stored"), submitted.c.id.label("submission"),
        submitted.c.state, literal(1).label("waits"), submitted.c.id.label("age"),
    ).where(~is_stored)  # fmt: skip
    stored = select(
        STUDIES.c.study_name, STUDIES.c.study_id, submitted.c.id, submitted.c.state, literal(0), STUDIES.c.study_id
    ).outerjoin(submitted, submitted.c.study == STUDIES.c.study_name)
    every = union_all(waiting, stored).subquery()
    wanted = select(every, NAMES.c.owner).outerjoin(NAMES, NAMES.c.study == every.c.name)
    if wish.owner is not None:
        wanted = wanted.where(NAMES.c.owner == wish.owner)
    if wish.states is not None:
        wanted = wanted.where(every.c.state.in_(wish.states))
    return wanted.where(~every.c.name.endswith(COPY, autoescape=True)).order_by(
        every.c.waits.desc(), every.c.age.desc()
    )
