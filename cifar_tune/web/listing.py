"""Which studies there are, page by page: those of the database, and those that wait for their first run."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Engine

from cifar_tune.service.names import owner_of_name, owners_of_names
from cifar_tune.service.submissions import State
from cifar_tune.storage.versions import is_copy
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
    return list_with(engine, summaries, wish, offset, limit, (), status_of)[0]


def list_with(
    engine: Engine,
    summaries: Summaries,
    wish: Wish,
    offset: int,
    limit: int,
    also: Collection[str],
    status_of: Callable[[str], Mapping[str, Any]] | None = None,
) -> tuple[StudyList, Mapping[str, Mapping[str, Any]]]:
    """The same, and the summaries of these and the studies of the names `also`, by name."""
    looked = summaries.look()
    total, page = _page(engine, summaries, looked.ids, wish, offset, limit)
    told = summaries.of([*(row.name for row in page), *also], looked)
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
    return StudyList(studies=shown, total=total, offset=offset), told


def owner_of(engine: Engine, name: str) -> str | None:
    """Whose a study is; None if nobody has submitted it."""
    with engine.connect() as connection:
        return owner_of_name(connection, name)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a study beside its trials; `stored` is its id, None before its first run."""

    name: str
    stored: int | None
    submission: int | None
    state: State | None
    owner: str | None


def _page(
    engine: Engine, summaries: Summaries, stored: Mapping[str, int], wish: Wish, offset: int, limit: int
) -> tuple[int, list[_Known]]:
    """How many studies are wanted in all, and those of the page; `stored` has those that have begun.

    The tables are joined here: a database takes several times as long, since the names of studies are no keys there.
    """
    owners: Mapping[str, str] | None = None
    with engine.connect() as connection:
        submitted = summaries.submitted.look(connection)
        if wish.owner is not None:
            owners = owners_of_names(connection)
    # what waits for its first run is newer than all that has run
    names = [*(name for name in submitted if name not in stored), *(name for name in stored if not is_copy(name))]
    if owners is not None:
        names = [name for name in names if owners.get(name) == wish.owner]
    if wish.states is not None:
        names = [name for name in names if name in submitted and submitted[name][1] in wish.states]
    if wish.contains is not None:
        names = [name for name in names if wish.contains.lower() in name.lower()]
    if wish.order == "name":
        names.sort(key=lambda name: (name.lower(), name))
    shown = names[offset : offset + limit]
    if owners is None:
        with engine.connect() as connection:
            owners = owners_of_names(connection, shown)
    page = []
    for name in shown:
        number, state = submitted.get(name) or (None, None)
        page.append(_Known(name, stored.get(name), number, state, owners.get(name)))
    return len(names), page
