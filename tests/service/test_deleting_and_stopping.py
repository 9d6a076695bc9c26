"""Studies that are deleted or stopped: by their owners, and those of nobody by admins."""

from pathlib import Path

import pytest
from optuna.study import StudyDirection

from cifar_tune.errors import CheckError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import submissions
from cifar_tune.service.desk import Stopped
from cifar_tune.service.refusals import ConflictError, NotAllowedError
from cifar_tune.storage.lease import acquire, owner_of
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE
from cifar_tune.storage.wishes import read_wish
from cifar_tune.study.removing import Removed

from .conftest import STUDY, DeskOf

NAMES = ("made", "made/finals")


def test_a_deleted_study_is_gone_and_its_name_is_free(
    desk_of: DeskOf, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "artifacts"))
    desk = desk_of("anna")
    desk.submit(STUDY)
    with pytest.raises(ConflictError, match="the study 'mine' is queued; cancel it first: cifar-tune cancel mine"):
        desk.delete("mine")
    desk.cancel("mine")
    for name in ("mine", "mine/finals"):
        storage.create_new_study([StudyDirection.MAXIMIZE], name)
    lease = acquire(storage.engine, "mine")
    with pytest.raises(CheckError, match="the study 'mine' is being run by"):
        desk.delete("mine")
    lease.release()
    assert desk.events()[-1].outcome == "failed"
    assert desk.delete("mine") == Removed("mine", ("mine/finals",))
    assert storage.get_all_studies() == []
    assert desk.submissions() == []
    assert desk_of("bert").submit(STUDY).id == 2, "numbers are not given twice"
    assert [event.target for event in desk.events() if event.action == "submit"] == ["mine", "mine"]


def test_what_nobody_has_submitted_is_deleted_by_admins_alone(desk_of: DeskOf, storage: BatchStorage) -> None:
    storage.create_new_study([StudyDirection.MAXIMIZE], "made")
    with pytest.raises(NotAllowedError, match="anna may not delete the study 'made'; ask an admin"):
        desk_of("anna").delete("made")
    assert desk_of("root", "admin").delete("made") == Removed("made")
    assert storage.get_all_studies() == []


def test_stopping_reaches_the_process_and_pauses_what_was_submitted(desk_of: DeskOf, storage: BatchStorage) -> None:
    desk = desk_of("anna")
    number = desk.submit(STUDY).id
    with storage.engine.begin() as connection:
        submissions.begin(connection, number)
    lease = acquire(storage.engine, "mine")
    stopped = desk.stop("mine")
    assert stopped == Stopped("mine", (str(owner_of(storage.engine, "mine")),), is_paused=True)
    wish = read_wish(storage.engine, "mine", lease.token)
    assert wish is not None
    assert (wish.park, wish.by) == (True, "anna")
    assert (desk.submission("mine").state, desk.submission("mine").wanted) == ("running", "pause")
    with storage.engine.begin() as connection:
        submissions.end(connection, number, 130, None)
    lease.release()
    assert desk.submission("mine").state == "paused"
    assert desk.stop("mine") == Stopped("mine", (), is_paused=True)
    desk.cancel("mine")
    with pytest.raises(ConflictError, match="nobody runs the study 'mine', so there is nothing to stop"):
        desk.stop("mine")


def test_admins_stop_a_plain_run_and_what_finalize_runs(desk_of: DeskOf, storage: BatchStorage) -> None:
    for name in NAMES:
        storage.create_new_study([StudyDirection.MAXIMIZE], name)
    leases = [acquire(storage.engine, name) for name in NAMES]
    with pytest.raises(NotAllowedError, match="anna may not stop the study 'made'; ask an admin"):
        desk_of("anna").stop("made")
    assert all(read_wish(storage.engine, name, lease.token) is None for name, lease in zip(NAMES, leases, strict=True))
    stopped = desk_of("root", "admin").stop("made")
    assert (len(stopped.asked), stopped.is_paused) == (2, False)
    for name, lease in zip(NAMES, leases, strict=True):
        wish = read_wish(storage.engine, name, lease.token)
        assert wish is not None
        assert wish.park
        lease.release()
