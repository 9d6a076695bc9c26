"""The desk on the database itself, for the command line and for the server.

Rights are checked here, before anything else is looked at. Each change and each refusal is written into the record of
events, a change in its own transaction.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from time import time
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, insert, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from cifar_tune.errors import Problem, UserError
from cifar_tune.service import audit, bounds, names, owners, people, rights, submissions
from cifar_tune.service.attempts import Attempts
from cifar_tune.service.audit import Event
from cifar_tune.service.checking_apart import checked_for_server
from cifar_tune.service.desk import Stopped
from cifar_tune.service.owners import Owner
from cifar_tune.service.people import Actor, Role, Token
from cifar_tune.service.progress import used_up
from cifar_tune.service.refusals import ConflictError, UnknownStudyError
from cifar_tune.service.study_text import Rule, require_as_stored
from cifar_tune.service.submissions import LIVING, SoFar, State, Submission
from cifar_tune.service.tables import LONGEST_NAME, SERVER_LEASE, SUBMISSIONS, is_storable
from cifar_tune.storage.lease import owner_of
from cifar_tune.storage.linked import with_linked
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.wishes import ask_to_park
from cifar_tune.study.removing import Removed, remove_with_linked
from cifar_tune.visible import visible

Look = Callable[[Sequence[str]], Mapping[str, SoFar]]
"""How far studies are, by name; those that have not begun are left out."""

_MOST_TRIALS = 10**9
_TRIES = 3


class StorageDesk:
    """Answers everything in `cifar_tune.service.desk.Desk`.

    Args:
        engine: of the database, whose tables `cifar_tune.service.schema.upgrade` has made.
        url: of the database.
        actor: who asks.
        rule: what study files must keep besides, such as where images may lie.
        look: says how far studies of these names are; None where nobody wants to know.
    """

    def __init__(
        self, engine: Engine, url: URL, actor: Actor, rule: Rule | None = None, look: Look | None = None
    ) -> None:
        self.engine = engine
        self._url = url
        self._actor = actor
        self._attempts = Attempts(engine, actor.name)
        self._rule = rule
        self._look = look

    def submit(
        self,
        text: str,
        name_of_file: str = "study.yaml",
        settings: Sequence[str] = (),
        priority: int = 0,
        workers: int | None = None,
        notify: Sequence[str] = (),
        folder: str | None = None,
    ) -> Submission:
        """See `Desk`."""
        me = self._actor.name
        name_of_file = visible(name_of_file)
        with self._attempts.attempt("submit", None, {"file": name_of_file}) as attempt:
            rights.require(self._actor, "submit", me, "submit a study")
            bounds.require_sound(priority, workers, notify)
            if folder is not None and not is_storable(folder):
                raise UserError(
                    Problem("has a name that is not UTF-8; submit the study in another folder", "the folder", folder)
                )
            checked = checked_for_server(text, name_of_file, settings, folder, self._rule)
            addresses = tuple(dict.fromkeys((*checked.spec.notify, *notify)))
            bounds.require_sound(notify=addresses)
            attempt.target = study = checked.spec.name
            trials = checked.spec.budget.trials
            if trials > _MOST_TRIALS:
                raise UserError(
                    Problem(f"must be {_MOST_TRIALS:,} at most in a submitted study", "budget.trials", trials)
                )
            row = {
                "study": study, "living": study, "owner": me, "file": name_of_file, "folder": folder,
                "text": checked.text, "priority": priority, "workers": workers, "trials": trials, "state": "queued",
                "wanted": "run", "submitted_at": time(), "waiting_since": time(), "device_seconds": 0.0, "deaths": 0,
                "notify": list(addresses),
            }  # fmt: skip
            with self.engine.connect() as connection:
                names.require_free(connection, self._actor, study)
                is_stored = names.is_stored(connection, study)
            if is_stored:
                require_as_stored(checked.spec, self._url)
            owners.make_row(self.engine, me)

            def insert_row(connection: Connection) -> Submission:
                owners.lock(connection, me)
                names.require_free(connection, self._actor, study)
                names.take(connection, self._actor, study)
                owners.require_room(connection, me, trials)
                connection.execute(insert(SUBMISSIONS).values(**row))
                made = names.existing(connection, study)
                attempt.detail |= {"submission": made.id, "priority": priority, "workers": workers}
                return replace(made, notes=(*checked.notes, *used_up(connection, made.study, made.trials)))

            for _ in range(_TRIES):
                try:
                    return self._attempts.commit(attempt, insert_row)
                except IntegrityError:  # somebody has submitted this name at the same instant; the next look shows who
                    continue
            raise ConflictError(f"the study {study!r} was submitted several times at the same instant; try again")

    def queue(self) -> list[Submission]:
        """See `Desk`."""
        return self._with_progress([self.shown(submissions.of_row(row)) for row in self.queue_rows()])

    def queue_rows(self) -> list[tuple[Any, ...]]:
        """The rows of the queue in its order, for `of_row` and `shown`. They hold what not everybody may see.

        Raises:
            NotAllowedError: whoever asks may not see studies.
        """
        rights.require(self._actor, "read", None, "see studies")
        with self.engine.connect() as connection:
            return submissions.queue_rows(connection)

    def submissions(
        self,
        states: Collection[State] | None = None,
        owner: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[Submission]:
        """See `Desk`."""
        rights.require(self._actor, "read", None, "see studies")
        with self.engine.connect() as connection:
            found = submissions.select_submissions(connection, states, owner, before, limit, has_texts=False)
        return [self.shown(each) for each in found]

    def submission(self, study: str) -> Submission:
        """See `Desk`."""
        rights.require(self._actor, "read", None, "see studies")
        with self.engine.connect() as connection:
            found = self.shown(names.existing(connection, study))
        return self._with_progress([found])[0]

    def pause(self, study: str) -> Submission:
        """See `Desk`."""
        return self._change("pause", study, submissions.pause)

    def resume(self, study: str) -> Submission:
        """See `Desk`."""

        def change(connection: Connection, number: int) -> bool:
            seen = submissions.find(connection, number)
            if seen is None:
                return False
            owners.lock(connection, seen.owner)
            found = submissions.locked(connection, number)  # a run may have been parked since then
            if found is not None and found.state == "paused" and found.wanted != "cancel":
                owners.require_room_in_queue(connection, found.owner)
            return submissions.resume(connection, number)

        return self._change("resume", study, change)

    def cancel(self, study: str) -> Submission:
        """See `Desk`."""
        return self._change("cancel", study, submissions.cancel)

    def set_priority(self, study: str, priority: int) -> Submission:
        """See `Desk`."""

        def change(connection: Connection, number: int) -> bool:
            bounds.require_sound(priority=priority)
            return _set(connection, number, priority=priority)

        return self._change("priority", study, change, priority=priority)

    def set_workers(self, study: str, workers: int | None) -> Submission:
        """See `Desk`."""

        def change(connection: Connection, number: int) -> bool:
            bounds.require_sound(workers=workers)
            return _set(connection, number, workers=workers)

        return self._change("workers", study, change, workers=workers)

    def stop(self, study: str) -> Stopped:
        """See `Desk`."""
        with self._attempts.attempt("stop", study, {}) as attempt:
            newest = self._found(study, "stop")
            held = [ask_to_park(self.engine, each, self._actor.name) for each in with_linked(study)]
            asked = tuple(str(each.owner) for each in held if each is not None)
            attempt.detail["asked"] = asked

            def pause(connection: Connection) -> bool:
                # only now: a run that parks before this is queued again, and paused here all the same
                is_paused = newest is not None and submissions.pause(connection, newest.id)
                if not asked and not is_paused:
                    raise ConflictError(f"nobody runs the study {study!r}, so there is nothing to stop")
                return is_paused

            return Stopped(study, asked, self._attempts.commit(attempt, pause))

    def delete(self, study: str) -> Removed:
        """See `Desk`."""
        with self._attempts.attempt("delete", study, {}) as attempt:
            newest = self._found(study, "delete")
            if newest is not None and newest.is_living:
                raise ConflictError(
                    f"the study {study!r} is {newest.state}; cancel it first: cifar-tune cancel {study}"
                )
            removed = self._removed(study)
            attempt.detail["linked"] = removed.linked
            last = 0 if newest is None else newest.id
            self._attempts.commit(attempt, lambda connection: names.release(connection, study, last))
            return removed

    def events(self, after: int | None = 0, limit: int | None = None) -> list[Event]:
        """See `Desk`."""
        rights.require(self._actor, "read", None, "see events")
        with self.engine.connect() as connection:
            return audit.read(connection, after, limit)

    def tokens(self) -> list[Token]:
        """See `Desk`."""
        everybodys = rights.is_allowed(self._actor, "token.list", None)
        with self.engine.connect() as connection:
            return people.read_tokens(connection, None if everybodys else self._actor.name)

    def create_token(
        self, owner: str, role: Role, label: str = "", expires_at: float | None = None
    ) -> tuple[Token, str]:
        """See `Desk`."""
        with self._attempts.attempt("token.create", owner, {"role": role, "expires_at": expires_at}) as attempt:
            rights.require(self._actor, "token.create", owner, "create tokens")
            people.role_of(role)
            people.person_name(owner)
            if owner in (owners.EVERYBODY, SERVER_LEASE):
                raise UserError(
                    Problem(
                        "cannot be the name of a person: events and limits use it for something else", "owner", owner
                    )
                )
            if len(label) > LONGEST_NAME or visible(label) != label:
                raise UserError(Problem(f"must be {LONGEST_NAME} visible characters at most", "label", label))
            if expires_at is not None and not time() < expires_at < _END_OF_TIME:
                raise UserError(Problem("must lie in the future", "expires_at", expires_at))

            def create(connection: Connection) -> tuple[Token, str]:
                token, secret = people.create_token(connection, self._actor.name, owner, role, label, expires_at)
                attempt.detail["token"] = token.id
                return token, secret

            return self._attempts.commit(attempt, create)

    def revoke_token(self, number: int) -> Token:
        """See `Desk`."""
        with self._attempts.attempt("token.revoke", None, {"token": number}) as attempt:

            def revoke(connection: Connection) -> Token:
                found = {each.id: each.owner for each in people.read_tokens(connection)}
                attempt.target = owner = found.get(number)
                rights.require(self._actor, "token.revoke", owner, f"revoke token {number}")
                if owner is None:
                    raise UserError(Problem("there is no such token; see: cifar-tune token list", "token", number))
                if not people.revoke(connection, number):
                    raise ConflictError(f"token {number} was revoked already")
                return people.read_token(connection, number)

            return self._attempts.commit(attempt, revoke)

    def owners(self) -> list[Owner]:
        """See `Desk`."""
        rights.require(self._actor, "owner.list", None, "see owners")
        with self.engine.connect() as connection:
            return owners.read_owners(connection)

    def set_owner(self, owner: Owner, resets: bool = False) -> Owner:
        """See `Desk`."""
        said = {key: value for key, value in owners.limits(owner).items() if value is not None or resets}
        with self._attempts.attempt("owner.set", owner.name, said) as attempt:
            rights.require(self._actor, "owner.set", None, "change what owners may use")
            people.person_name(owner.name)
            owners.require_sound(owner)
            owners.make_row(self.engine, owner.name)

            def set_limits(connection: Connection) -> Owner:
                owners.set_limits(connection, owner.name, said)
                return owners.limits_of(connection, owner.name)

            return self._attempts.commit(attempt, set_limits)

    def is_served(self) -> bool:
        """Whether a server runs on this database."""
        return owner_of(self.engine, SERVER_LEASE) is not None

    def _found(self, study: str, action: str) -> Submission | None:
        """The newest submission of a study that may be one of `run`, with the right to do something with it.

        Raises:
            NotAllowedError: there is no such right.
            UnknownStudyError: there is no such study.
        """
        what = f"{_WORDS[action]} {study!r}"
        rights.require(self._actor, action, self._actor.name, what)
        with self.engine.connect() as connection:
            owner = names.owner_of_name(connection, study)
            if owner is None and not names.is_stored(connection, study):
                raise UnknownStudyError(f"there is no study {names.shown_name(study)!r}")
            rights.require(self._actor, action, owner, what)
            return submissions.newest(connection, study)

    def _removed(self, study: str) -> Removed:
        with self.engine.connect() as connection:
            if not names.is_stored(connection, study):  # it has never run
                return Removed(study)
        storage = open_storage(self._url)
        try:
            return remove_with_linked(storage, study, self._url)
        except KeyError as error:
            raise UnknownStudyError(_gone(study)) from error
        finally:
            close(storage)

    def _change(
        self, action: str, study: str, change: Callable[[Connection, int], bool], **detail: object
    ) -> Submission:
        """Change a submission that has not ended, in one statement that says from which states it starts."""
        with self._attempts.attempt(action, study, detail) as attempt:
            rights.require(self._actor, action, self._actor.name, f"{_WORDS[action]} {study!r}")

            def apply(connection: Connection) -> Submission:
                found = names.existing(connection, study)
                rights.require(self._actor, action, found.owner, f"{_WORDS[action]} {study!r}")
                attempt.detail["submission"] = found.id
                if change(connection, found.id):
                    return submissions.read(connection, found.id)
                now = submissions.find(connection, found.id)
                raise UnknownStudyError(_gone(study)) if now is None else ConflictError(_why_not(now))

            return self.shown(self._attempts.commit(attempt, apply))

    def _with_progress(self, found: Sequence[Submission]) -> list[Submission]:
        """Submissions with how far their studies are."""
        so_far = {} if self._look is None or not found else self._look([each.study for each in found])
        return [replace(each, so_far=so_far[each.study]) if each.study in so_far else each for each in found]

    def sees_all_of(self, owner: str) -> bool:
        """Whether whoever asks sees all of this owner's submissions; else their addresses are hidden (`shown`)."""
        return rights.is_allowed(self._actor, "cancel", owner)

    def shown(self, submission: Submission) -> Submission:
        """A submission as whoever asks may see it: addresses of others may hold secrets."""
        may_see = not submission.notify or self.sees_all_of(submission.owner)
        return submission if may_see else replace(submission, notify=("***",) * len(submission.notify))


_END_OF_TIME = 253_402_300_800.0  # the year 10000

_WORDS = {
    "pause": "pause the study",
    "resume": "resume the study",
    "cancel": "cancel the study",
    "priority": "change the priority of the study",
    "workers": "change the number of workers of the study",
    "stop": "stop the study",
    "delete": "delete the study",
}


def _set(connection: Connection, number: int, **values: int | None) -> bool:
    is_it: ColumnElement[bool] = (SUBMISSIONS.c.id == number) & SUBMISSIONS.c.state.in_(LIVING)
    return connection.execute(update(SUBMISSIONS).where(is_it).values(**values)).rowcount == 1


def _gone(study: str) -> str:
    return f"the study {names.shown_name(study)!r} was deleted a moment ago"


def _why_not(found: Submission) -> str:
    """Why a submission cannot be changed."""
    if found.is_living:
        return f"the study {found.study!r} is being cancelled"
    return f"the study {found.study!r} has ended ({found.state}); submit it again to go on with it"
