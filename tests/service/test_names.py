"""Whose a name is, and which names nobody can have."""

from threading import Barrier, Thread

import pytest
from optuna.study import StudyDirection
from sqlalchemy import Engine

from cifar_tune.errors import UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.owners import Owner
from cifar_tune.service.refusals import NameTakenError, NotAllowedError, QuotaError, RefusedError, UnknownStudyError
from cifar_tune.service.submissions import Submission

from .conftest import STUDY, DeskOf


def test_a_taken_name_says_whose_it_is(desk_of: DeskOf) -> None:
    desk_of("anna").submit(STUDY)
    for role in ("editor", "admin"):
        with pytest.raises(
            NameTakenError, match="'mine' is taken: that study belongs to anna; give yours another name"
        ):
            desk_of("bert", role).submit(STUDY)
    with pytest.raises(NameTakenError, match="your study 'mine' is queued already"):
        desk_of("anna").submit(STUDY)
    desk_of("anna").cancel("mine")
    with pytest.raises(NameTakenError, match="belongs to anna"):
        desk_of("bert").submit(STUDY)
    again = desk_of("anna").submit(STUDY)
    assert again.state == "queued"
    assert desk_of("anna").submission("mine") == again
    assert [each.state for each in desk_of("anna").submissions()] == ["queued", "cancelled"]


def test_only_an_admin_takes_over_a_study_that_run_has_made(desk_of: DeskOf, storage: BatchStorage) -> None:
    storage.create_new_study([StudyDirection.MAXIMIZE], "mine")
    with pytest.raises(
        NotAllowedError, match="anna may not submit the study 'mine', which is stored already; ask an admin"
    ):
        desk_of("anna").submit(STUDY)
    with pytest.raises(UnknownStudyError, match="'mine' was not submitted: `cifar-tune run` has made it; an admin can"):
        desk_of("anna").submission("mine")
    assert desk_of("bert", "admin").submit(STUDY).owner == "bert"


@pytest.mark.parametrize("people", [("anna", "bert"), ("anna", "anna")], ids=["two", "one"])
def test_of_two_who_submit_one_name_at_the_same_instant_one_wins(desk_of: DeskOf, people: tuple[str, str]) -> None:
    for number in range(5):
        barrier, ends = Barrier(2), list[Submission | RefusedError]()

        def submit(name: str, study: str, barrier: Barrier, ends: list[Submission | RefusedError]) -> None:
            barrier.wait()
            try:
                ends.append(desk_of(name).submit(STUDY, settings=[f"name={study}"]))
            except RefusedError as error:
                ends.append(error)

        threads = [Thread(target=submit, args=(name, f"s{number}", barrier, ends)) for name in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [won] = [end for end in ends if isinstance(end, Submission)]
        [lost] = [end for end in ends if not isinstance(end, Submission)]
        assert isinstance(lost, NameTakenError)
        assert desk_of("anna").submission(f"s{number}") == won


@pytest.mark.parametrize("name", ["\udcff", "a\0b", "x" * 5000], ids=["half a character", "zero", "long"])
def test_what_no_database_takes_is_refused_in_words(desk_of: DeskOf, name: str) -> None:
    desk = desk_of("root", "admin")
    for ask in (desk.submission, desk.pause, desk.stop, desk.delete):
        with pytest.raises(UnknownStudyError, match=r"no study|nobody has submitted a study") as raised:
            ask(name)
        assert len(str(raised.value)) < 300
    with pytest.raises(UserError, match="must be a name"):
        desk.set_owner(Owner(name, weight=2.0))
    with pytest.raises(UserError, match="must be a name"):
        desk.create_token(name, "viewer")
    with pytest.raises(UserError, match="must be 1,000,000,000 at most in a submitted study"):
        desk.submit(STUDY, settings=[f"budget.trials={10**12}"])
    with pytest.raises(UserError, match="has a name that is not UTF-8"):
        desk.submit(STUDY, folder="somewhere/\udcff")
    assert len(desk.events(-(10**30), 10**30)) == 7
    assert (desk.events(10**30), desk.submissions(before=10**30)) == ([], [])


def test_the_nearest_study_is_named(desk_of: DeskOf) -> None:
    desk_of("anna").submit(STUDY)
    with pytest.raises(UnknownStudyError, match=r"nobody has submitted a study 'mime' \(did you mean 'mine'\?\)"):
        desk_of("anna").cancel("mime")
    assert UnknownStudyError.exit_code == 2


def test_nobody_has_a_name_that_means_something_else(desk_of: DeskOf) -> None:
    for name in ("*", "cifar-tune serve"):
        with pytest.raises(UserError, match="cannot be the name of a person"):
            desk_of("root", "admin").create_token(name, "viewer")


def test_people_whose_names_differ_in_case_are_two(desk_of: DeskOf) -> None:
    for name in ("anna", "Anna"):
        desk_of(name).submit(STUDY, settings=[f"name=of-{name}-{len(desk_of(name).submissions())}"])
    admin = desk_of("root", "admin")
    assert [each.study for each in admin.submissions(owner="Anna")] == ["of-Anna-1"]
    admin.create_token("anna", "editor")
    assert (len(desk_of("anna").tokens()), desk_of("Anna").tokens()) == (1, [])
    admin.set_owner(Owner("Anna", queued=1))
    assert desk_of("anna").submit(STUDY).owner == "anna", "limits are those of the other one"
    with pytest.raises(QuotaError, match="Anna"):
        desk_of("Anna").submit(STUDY, settings=["name=second"])


def test_studies_whose_names_differ_in_case_are_two_or_refused(
    desk_of: DeskOf, storage: BatchStorage, engine: Engine
) -> None:
    """MySQL cannot tell them apart, and Optuna's own table lies there too."""
    storage.create_new_study([StudyDirection.MAXIMIZE], "made")
    desk = desk_of("root", "admin")
    desk.submit(STUDY)
    if engine.dialect.name != "mysql":
        assert desk.submit(STUDY, settings=["name=Mine"]).study == "Mine"
        return
    for name, other in (("Mine", "mine"), ("MADE", "made")):
        with pytest.raises(NameTakenError, match=f"cannot tell the name '{name}' from '{other}', which is taken"):
            desk.submit(STUDY, settings=[f"name={name}"])
    with pytest.raises(UnknownStudyError, match="nobody has submitted a study 'MINE'"):
        desk.cancel("MINE")
    with pytest.raises(UserError, match="MADE: this database cannot tell the name from 'made', a study that it holds"):
        storage.get_study_id_from_name("MADE")
