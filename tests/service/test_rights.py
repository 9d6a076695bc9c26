"""Who may do what, and that every try leaves exactly one event."""

from collections.abc import Callable, Sequence

import pytest
from optuna.study import StudyDirection
from sqlalchemy import Engine

from cifar_tune.errors import UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import people
from cifar_tune.service.audit import Event
from cifar_tune.service.owners import Owner
from cifar_tune.service.people import ROLES, Role
from cifar_tune.service.refusals import (
    ConflictError,
    NameTakenError,
    NotAllowedError,
    QuotaError,
    RefusedError,
    UnknownStudyError,
)
from cifar_tune.service.rights import RIGHTS, is_allowed
from cifar_tune.service.storage_desk import StorageDesk

from .conftest import STUDY, DeskOf

NOTHING: set[str] = set()
OF_EDITORS = {"viewer": NOTHING, "editor": {"own"}, "admin": {"own", "foreign"}}
OF_ADMINS = {"viewer": NOTHING, "editor": NOTHING, "admin": {"own", "foreign"}}
ONE_S_OWN = {"viewer": {"own"}, "editor": {"own"}, "admin": {"own", "foreign"}}
EVERYTHING = {"viewer": {"own", "foreign"}, "editor": {"own", "foreign"}, "admin": {"own", "foreign"}}
EXPECTED = {
    "read": EVERYTHING,
    "submit": OF_EDITORS,
    "pause": OF_EDITORS,
    "resume": OF_EDITORS,
    "cancel": OF_EDITORS,
    "priority": OF_EDITORS,
    "workers": OF_EDITORS,
    "stop": OF_EDITORS,
    "delete": OF_EDITORS,
    "token.list": ONE_S_OWN,
    "token.create": OF_ADMINS,
    "token.revoke": ONE_S_OWN,
    "owner.list": EVERYTHING,
    "owner.set": OF_ADMINS,
}
"""With whose things each role may do what."""

Verb = Callable[[StorageDesk, str], object]
VERBS: dict[str, Verb] = {
    "submit": lambda desk, whose: desk.submit(STUDY, settings=[f"name=new-{whose}"]),
    "pause": lambda desk, whose: desk.pause(whose),
    "resume": lambda desk, whose: desk.resume(whose),
    "priority": lambda desk, whose: desk.set_priority(whose, 3),
    "workers": lambda desk, whose: desk.set_workers(whose, 3),
    "cancel": lambda desk, whose: desk.cancel(whose),
    "stop": lambda desk, whose: desk.stop({"own": "run-own", "foreign": "run-foreign"}[whose]),
    "delete": lambda desk, whose: desk.delete({"own": "old-own", "foreign": "old-foreign"}[whose]),
    "token.create": lambda desk, whose: desk.create_token({"own": "me", "foreign": "ruth"}[whose], "viewer"),
    "token.revoke": lambda desk, whose: desk.revoke_token({"own": 1, "foreign": 2}[whose]),
    "owner.set": lambda desk, whose: desk.set_owner(Owner({"own": "me", "foreign": "ruth"}[whose], weight=2.0)),
}
"""On things of one's own and of others, in this order."""


def test_the_table_is_what_it_should_be() -> None:
    actors = {role: people.Actor("me", role) for role in ROLES}
    whose = {"own": "me", "foreign": "ruth"}
    found = {
        action: {
            role: {key for key, owner in whose.items() if is_allowed(actor, action, owner)}
            for role, actor in actors.items()
        }
        for action in RIGHTS
    }
    assert found == EXPECTED
    assert not is_allowed(actors["editor"], "delete", None), "what belongs to nobody is an administrator's"


@pytest.mark.parametrize("role", ROLES)
def test_every_verb_is_refused_or_done_and_leaves_one_event(desk_of: DeskOf, storage: BatchStorage, role: Role) -> None:
    root = desk_of("root", "admin")
    desk_of("me").submit(STUDY, settings=["name=own"])
    desk_of("ruth").submit(STUDY, settings=["name=foreign"])
    storage.create_new_study([StudyDirection.MAXIMIZE], "new-foreign")  # as `run` makes it: nobody's
    for name, whose in (("me", "own"), ("ruth", "foreign")):
        desk_of(name).submit(STUDY, settings=[f"name=old-{whose}"])
        desk_of(name).cancel(f"old-{whose}")
        desk_of(name).submit(STUDY, settings=[f"name=run-{whose}"])
    for owner in ("me", "ruth"):
        root.create_token(owner, "viewer")
    desk, tries = desk_of("me", role), tries_in(root.events())
    for action, verb in VERBS.items():
        for whose in ("own", "foreign"):
            before = (root.submissions(), root.tokens(), root.owners())
            is_expected = whose in EXPECTED[action][role]
            if is_expected:
                verb(desk, whose)
            else:
                with pytest.raises(NotAllowedError, match=r"^me may not "):
                    verb(desk, whose)
                assert (root.submissions(), root.tokens(), root.owners()) == before, (action, whose)
            tries += 1
            assert tries_in(root.events()) == tries, (action, whose)
            event = root.events()[-1]
            assert (event.actor, event.action) == ("me", action)
            assert event.outcome == ("done" if is_expected else "refused"), (action, whose)
    assert [event.id for event in root.events()] == list(range(1, len(root.events()) + 1))


def tries_in(events: Sequence[Event]) -> int:
    """How many tries these events tell of: the same one that is refused again is counted in one event."""
    return sum(event.detail.get("times", 1) for event in events)


@pytest.mark.parametrize("role", ROLES)
def test_everybody_reads_and_that_is_no_event(desk_of: DeskOf, role: Role) -> None:
    root, desk = desk_of("root", "admin"), desk_of("me", role)
    made = desk_of("ruth").submit(STUDY)
    root.create_token("me", "viewer")
    root.create_token("ruth", "viewer")
    events = root.events()
    assert [each.id for each in desk.queue()] == [each.id for each in desk.submissions()] == [made.id]
    assert desk.submission("mine").id == made.id
    assert desk.owners() == root.owners()
    assert [token.owner for token in desk.tokens()] == (["me", "ruth"] if role == "admin" else ["me"])
    assert desk.events() == root.events() == events


def test_what_makes_no_sense_is_an_event_too(desk_of: DeskOf) -> None:
    root = desk_of("root", "admin")
    root.set_owner(Owner("anna", queued=1))
    desk = desk_of("anna")
    desk.submit(STUDY)
    wrong: list[tuple[str, type[RefusedError | UserError], Callable[[], object]]] = [
        ("submit", UserError, lambda: desk.submit("name: [")),
        ("submit", UserError, lambda: desk.submit(STUDY, settings=["nonsense"])),
        ("submit", UserError, lambda: desk.submit(STUDY, priority=9999)),
        ("submit", NameTakenError, lambda: desk.submit(STUDY)),
        ("submit", QuotaError, lambda: desk.submit(STUDY, settings=["name=x"])),
        ("pause", UnknownStudyError, lambda: desk.pause("unknown")),
        ("delete", UnknownStudyError, lambda: root.delete("unknown")),
        ("delete", ConflictError, lambda: desk.delete("mine")),
        ("stop", UnknownStudyError, lambda: desk.stop("unknown")),
        ("priority", UserError, lambda: desk.set_priority("mine", 9999)),
        ("workers", UserError, lambda: desk.set_workers("mine", 0)),
        ("token.create", UserError, lambda: root.create_token(" ", "viewer")),
        ("token.create", UserError, lambda: root.create_token("x", "owner")),  # type: ignore[arg-type]
        ("token.create", UserError, lambda: root.create_token("x", "viewer", "\n")),
        ("token.create", UserError, lambda: root.create_token("x", "viewer", expires_at=1.0)),
        ("token.revoke", UserError, lambda: root.revoke_token(99)),
        ("owner.set", UserError, lambda: root.set_owner(Owner("anna", weight=0.0))),
        ("owner.set", UserError, lambda: root.set_owner(Owner("", weight=1.0))),
    ]
    for action, kind, verb in wrong:
        last = len(root.events())
        with pytest.raises(kind) as raised:
            verb()
        [event] = root.events(after=last)
        assert (event.action, event.outcome, event.detail["why"]) == (action, "refused", str(raised.value))
    desk.cancel("mine")
    with pytest.raises(ConflictError):
        desk.cancel("mine")
    assert [event.outcome for event in root.events()][-2:] == ["done", "refused"]


def test_a_change_and_its_event_come_together_or_not_at_all(
    desk_of: DeskOf, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of("anna")
    desk.submit(STUDY)

    def fail(*_: object) -> None:
        raise OSError("no event can be written")

    monkeypatch.setattr("cifar_tune.service.audit.note", fail)
    with pytest.raises(OSError, match="no event can be written"):
        desk.cancel("mine")
    with pytest.raises(OSError, match="no event can be written"):
        desk.submit(STUDY, settings=["name=other"])
    monkeypatch.undo()
    assert [(each.study, each.state) for each in desk.submissions()] == [("mine", "queued")]
    desk_of("bert").submit(STUDY, settings=["name=other"])
