"""Whose a study's name is.

A name belongs to the first person who submits a study under it, until the study is deleted. Studies that `run` has made
belong to nobody until an administrator submits them.
"""

from collections.abc import Collection
from time import time

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from cifar_tune.errors import nearest_name
from cifar_tune.optuna_tables import STUDIES, cannot_be_there
from cifar_tune.service import rights, submissions
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import NameTakenError, UnknownStudyError
from cifar_tune.service.schema import version_of
from cifar_tune.service.submissions import MOST_NUMBER, Submission
from cifar_tune.service.tables import NAMES, is_storable


def owner_of_name(connection: Connection, study: str) -> str | None:
    """Whose the name is; None where nobody has submitted it."""
    if not is_storable(study):
        return None
    found = connection.execute(select(NAMES.c.study, NAMES.c.owner).where(NAMES.c.study == study)).one_or_none()
    return None if found is None or found.study != study else str(found.owner)


def owners_of_names(connection: Connection, studies: Collection[str] | None = None) -> dict[str, str]:
    """Whose each of these names is, or each name; those that nobody has submitted are left out."""
    wanted = select(NAMES.c.study, NAMES.c.owner)
    if studies is not None:
        wanted = wanted.where(NAMES.c.study.in_(studies))
    return {str(study): str(owner) for study, owner in connection.execute(wanted).all()}


def is_stored(connection: Connection, study: str) -> bool:
    """Whether the database holds a study of this name, whoever has made it."""
    if not is_storable(study):
        return False
    wanted = select(STUDIES.c.study_name).where(STUDIES.c.study_name == study)
    try:
        return connection.execute(wanted).scalar_one_or_none() == study
    except DBAPIError as error:
        if cannot_be_there(error):
            return False
        raise


def _same_to_database(connection: Connection, study: str) -> str | None:
    """Another name that the database takes for the same one, as MySQL does where only the case differs."""
    for names in (NAMES.c.study, STUDIES.c.study_name):
        found = connection.execute(select(names).where(names == study)).scalar_one_or_none()
        if found is not None and found != study:
            return str(found)
    return None


def is_submitted(engine: Engine, study: str) -> bool:
    """Whether somebody has submitted a study of this name; a database without the service's tables is left alone."""
    if version_of(engine) is None:
        return False
    with engine.connect() as connection:
        return owner_of_name(connection, study) is not None


def take(connection: Connection, actor: Actor, study: str) -> None:
    """Make a name somebody's own, and keep it so until the transaction ends; `require_free` comes first.

    What `require_free` has read can be out of date, so this asks again while it changes the row: the name may have been
    taken or given free since then.

    Raises:
        IntegrityError: somebody else has taken the name meanwhile.
    """
    is_own = (NAMES.c.study == study) & (NAMES.c.owner == actor.name)
    if connection.execute(update(NAMES).where(is_own).values(owner=actor.name)).rowcount == 0:
        connection.execute(insert(NAMES).values(study=study, owner=actor.name, since=time()))


def require_free(connection: Connection, actor: Actor, study: str) -> None:
    """See that somebody may submit a study under this name now.

    Raises:
        NameTakenError: saying whose it is, or that the study has not ended; or that the database cannot tell the name
            from another one.
        NotAllowedError: `run` has made the study, and only an administrator may take it over.
    """
    advice = "give yours another name, such as --set name=..."
    other = _same_to_database(connection, study)
    if other is not None:
        raise NameTakenError(f"this database cannot tell the name {study!r} from {other!r}, which is taken; {advice}")
    owner = owner_of_name(connection, study)
    if owner is None:
        if is_stored(connection, study):
            rights.require(actor, "submit", None, f"submit the study {study!r}, which is stored already")
        return
    if owner != actor.name:
        raise NameTakenError(f"the name {study!r} is taken: that study belongs to {owner}; {advice}")
    newest = submissions.newest(connection, study)
    if newest is not None and newest.is_living:
        raise NameTakenError(
            f"your study {study!r} is {newest.state} already; change it with `cifar-tune priority`, pause or "
            f"cancel it, or {advice}"
        )


def release(connection: Connection, study: str, last: int = MOST_NUMBER) -> None:
    """Forget a study that was deleted; if it was submitted again meanwhile, the name stays taken.

    Args:
        connection: a transaction.
        study: its name.
        last: the number of its newest submission when the deletion began.
    """
    connection.execute(update(NAMES).where(NAMES.c.study == study).values(study=study))  # waits for those who `take` it
    submissions.forget(connection, study, last)
    if submissions.newest(connection, study) is None:
        connection.execute(delete(NAMES).where(NAMES.c.study == study))


def existing(connection: Connection, study: str) -> Submission:
    """The newest submission of a study.

    Raises:
        UnknownStudyError: there is none; names the nearest name.
    """
    found = submissions.newest(connection, study) if is_storable(study) else None
    if found is not None and found.study == study:
        return found
    if is_stored(connection, study):
        raise UnknownStudyError(
            f"the study {study!r} was not submitted: `cifar-tune run` has made it; an admin can submit its study file"
        )
    near = nearest_name(study, connection.execute(select(NAMES.c.study)).scalars())
    meant = f" (did you mean {near!r}?)" if near else ""
    raise UnknownStudyError(f"nobody has submitted a study {shown_name(study)!r}{meant}; see: cifar-tune queue")


_SHOWN = 100


def shown_name(study: str) -> str:
    """A name that somebody gives, as it may be repeated: it can be of any length."""
    return study if len(study) <= _SHOWN else f"{study[:_SHOWN]}..."
