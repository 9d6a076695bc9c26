"""Which studies there are, page by page: those of the database, and those that wait for their first run."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine, func, select

from cifar_tune.service.names import owner_of_name
from cifar_tune.service.submissions import State
from cifar_tune.service.tables import NAMES, SUBMISSIONS
from cifar_tune.web.models.studies import StudyList, StudySummary
from cifar_tune.web.reading import Studies

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


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a study beside its trials."""

    owner: str | None
    state: State | None
    submission: int | None
    submitted_at: float


def list_studies(engine: Engine, studies: Studies, wish: Wish, offset: int, limit: int) -> StudyList:
    """The studies from position `offset` on, at most `limit` of them."""
    stored = studies.all()
    submitted = _submitted(engine)
    owners = _owners(engine)
    # what waits for its first run is newer than all that has run
    names = [*(name for name in submitted if name not in stored), *stored]
    nobody = _Known(None, None, None, 0.0)
    known = {name: submitted.get(name, nobody) for name in names}
    wanted = [name for name in names if _fits(name, owners.get(name), known[name], wish)]
    if wish.order == "name":
        wanted.sort(key=lambda name: (name.lower(), name))
    page = wanted[offset : offset + limit]
    shown = []
    for name in page:
        told = studies.summary(name, stored[name]) if name in stored else _not_begun(name)
        each = known[name]
        shown.append(StudySummary(**told, owner=owners.get(name), state=each.state, submission=each.submission))
    return StudyList(studies=shown, total=len(wanted), offset=offset)


def owner_of(engine: Engine, name: str) -> str | None:
    """Whose a study is; None if nobody has submitted it."""
    with engine.connect() as connection:
        return owner_of_name(connection, name)


def _fits(name: str, owner: str | None, known: _Known, wish: Wish) -> bool:
    return (
        (wish.owner is None or owner == wish.owner)
        and (wish.states is None or known.state in wish.states)
        and (wish.contains is None or wish.contains.lower() in name.lower())
    )


def _owners(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        return {row.study: row.owner for row in connection.execute(select(NAMES.c.study, NAMES.c.owner))}


def _submitted(engine: Engine) -> dict[str, _Known]:
    """The newest submission of each study, the newest first; without the texts, which are long."""
    newest = select(func.max(SUBMISSIONS.c.id)).group_by(SUBMISSIONS.c.study)
    columns = (
        SUBMISSIONS.c.study,
        SUBMISSIONS.c.owner,
        SUBMISSIONS.c.state,
        SUBMISSIONS.c.id,
        SUBMISSIONS.c.submitted_at,
    )
    wanted = select(*columns).where(SUBMISSIONS.c.id.in_(newest)).order_by(SUBMISSIONS.c.id.desc())
    with engine.connect() as connection:
        return {row[0]: _Known(*row[1:]) for row in connection.execute(wanted)}


def _not_begun(name: str) -> dict[str, object]:
    empty = dict.fromkeys(("budget_trials", "objective", "direction", "best", "trouble"))
    return {"name": name, "counts": {}, "finished": 0, **empty}
