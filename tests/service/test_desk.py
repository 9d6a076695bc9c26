"""What people ask of the service: submissions, their states, and whose names are."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Barrier, Semaphore, Thread
from typing import Any

import pytest
from optuna.study import StudyDirection
from sqlalchemy import Engine, event
from sqlalchemy.engine import URL

from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import audit, checking_apart, submissions
from cifar_tune.service.checking_apart import memory_limit
from cifar_tune.service.desk import Stopped
from cifar_tune.service.ends import note_end
from cifar_tune.service.owners import Owner
from cifar_tune.service.people import Actor
from cifar_tune.service.refusals import (
    BusyError,
    ConflictError,
    NameTakenError,
    NotAllowedError,
    QuotaError,
    RefusedError,
    UnknownStudyError,
)
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.service.submissions import Submission
from cifar_tune.storage.lease import acquire, owner_of
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE
from cifar_tune.storage.wishes import read_wish
from cifar_tune.study.removing import Removed
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import read_yaml
from tests.reports.factory import MadeTrial, make_record
from tests.waiting import PATIENCE

from .conftest import DeskOf

NAMES = ("made", "made/finals")
STUDY = """\
# mine
name: mine
budget: {trials: 3}
data: {name: digits}
train: {model: cnn3, width: 8, epochs: 2}
search_space: {lr: {low: 1e-3, high: 1e-1, log: true}}
"""


def test_what_is_submitted_is_queued_as_it_was_written(desk_of: DeskOf) -> None:
    made = desk_of("anna").submit(STUDY, "mine.yaml", priority=2, workers=1, notify=["https://example.org/hook"])
    assert (made.study, made.owner, made.file, made.text) == ("mine", "anna", "mine.yaml", STUDY)
    assert (made.state, made.wanted, made.priority, made.workers, made.trials) == ("queued", "run", 2, 1, 3)
    assert made.notify == ("https://example.org/hook",)
    assert desk_of("anna").queue() == desk_of("anna").submissions() == [replace(made, text="")]
    assert desk_of("anna").submission("mine") == made


def test_overrides_are_in_the_stored_text(desk_of: DeskOf) -> None:
    text = f"{STUDY}x-note: '1e3'\n"
    made = desk_of("anna").submit(text, settings=["lr=0.1", "budget.trials=7", "name=other"])
    assert (made.study, made.trials) == ("other", 7)
    assert '"x-note": "1e3"' in made.text
    again = desk_of("anna").submit(made.text, settings=["name=again"])
    assert again.text == made.text.replace("name: other", "name: again")


def test_all_mistakes_of_a_file_are_said_at_once(desk_of: DeskOf) -> None:
    with pytest.raises(UserError) as raised:
        desk_of("anna").submit("name: x\ntrain: {optimzer: sgd, epochs: 0}\n", "wrong.yaml")
    assert str(raised.value).splitlines() == [
        "wrong.yaml:2: train.optimzer: unknown key (did you mean 'optimizer'?)",
        "wrong.yaml:2: train.epochs = 0: must be a whole number >= 1 and <= 1000000",
    ]
    assert desk_of("anna").queue() == []


def test_a_rule_sees_the_file_before_anything_in_it_runs(engine: Engine, url: URL, tmp_path: Path) -> None:
    (tmp_path / "ran.py").write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")

    def rule(raw: Mapping[str, Any]) -> list[Problem]:
        return [Problem("may not name plugins", "plugins", raw["plugins"])] if "plugins" in raw else []

    desk = StorageDesk(engine, url, Actor("anna", "editor"), rule)
    with pytest.raises(UserError, match="may not name plugins"):
        desk.submit(f"{STUDY}plugins: [{tmp_path / 'ran.py'}]\n")
    with pytest.raises(UserError, match="may not name plugins"):
        desk.submit(STUDY, settings=[f"plugins=[{tmp_path / 'ran.py'}]"])
    assert not (tmp_path / "ran").exists()
    assert desk.submit(STUDY).state == "queued"


PLUGIN = """
import os
from pathlib import Path
from cifar_tune.plugins import AugmentationPart

Path("ran").write_text(str(os.getpid()))
print("plugins may print")


def nothing(draw):
    return lambda images, batch: images


AUGMENTATIONS = {"nothing": AugmentationPart(nothing, "does nothing", stage="inputs")}
"""


@pytest.fixture
def server_desk(sqlite_url: URL) -> Iterator[StorageDesk]:
    """The desk of a server: what people submit must keep a rule, and is none of its own code."""
    opened = open_storage(sqlite_url)
    yield StorageDesk(opened.engine, sqlite_url, Actor("anna", "editor"), lambda _: [])
    close(opened)


def test_plugins_of_others_run_in_a_process_of_their_own(server_desk: StorageDesk, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    text = f"{STUDY}plugins: [mine.py]\nnotify: [https://example.org/hook]\n"
    fixed = "train.augment=[nothing]"
    made = server_desk.submit(text, settings=[fixed], folder=str(tmp_path))
    assert int((tmp_path / "ran").read_text()) != os.getpid()
    assert (made.study, made.trials, made.notify) == ("mine", 3, ("https://example.org/hook",))
    assert "nothing" in made.text
    assert "example.org" not in made.text
    with pytest.raises(UserError) as raised:
        server_desk.submit(f"{text}epochs: 3\n", "mine.yaml", [fixed, "name=other"], folder=str(tmp_path))
    assert [(problem.key, problem.line) for problem in raised.value.problems] == [("epochs", 9)]


@pytest.mark.parametrize(
    ("code", "seconds", "said"),
    [
        ("x = bytearray(3 << 30)", 120.0, r"mine.py:1: cannot be imported: MemoryError\n.* may use 2 GiB of memory"),
        pytest.param(
            "import torch\ntorch.empty(3 << 30, dtype=torch.uint8)",
            120.0,
            r"mine.py:2: cannot be imported: .*can't allocate memory.*\n.* may use 2 GiB .* .CIFAR_TUNE_CHECK_MEMORY.",
            marks=pytest.mark.exhaustive,
        ),
        ("import os; os._exit(7)", 120.0, r"plugins: end the process that imports them \(exit code 7\)"),
        ("while True: pass", 1.0, "plugins: do not come to an end within 1 s when they are imported"),
    ],
)
def test_plugins_that_hang_end_their_process_or_take_all_memory_are_refused(
    server_desk: StorageDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, seconds: float, said: str
) -> None:
    monkeypatch.setattr("cifar_tune.service.checking_apart.LONGEST_SECONDS", seconds)
    monkeypatch.setenv("CIFAR_TUNE_CHECK_MEMORY", "2")
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(UserError, match=said):
        server_desk.submit(f"{STUDY}plugins: [mine.py]\n", folder=str(tmp_path))


def test_only_so_many_wait_for_the_check_of_plugins(
    server_desk: StorageDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them holds a thread of the server."""
    monkeypatch.setattr(checking_apart, "_PLACES", Semaphore(0))
    (tmp_path / "mine.py").write_text(PLUGIN)
    text = f"{STUDY}plugins: [mine.py]\n"
    with pytest.raises(BusyError, match=r"the plugins of 8 other studies .* submit it again in a minute"):
        server_desk.submit(text, folder=str(tmp_path))
    assert server_desk.queue() == []
    monkeypatch.setattr(checking_apart, "_PLACES", places := Semaphore(1))
    monkeypatch.setattr(checking_apart, "_said", lambda *_: {"problems": [asdict(Problem("says no"))]})
    with pytest.raises(UserError, match="says no"):
        server_desk.submit(text, folder=str(tmp_path))
    assert places.acquire(blocking=False), "the place is given back"


def test_the_check_of_a_server_that_was_killed_ends_by_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("while True: pass")
    given: Mapping[str, Any] = {
        "text": f"{STUDY}plugins: [mine.py]\n",
        "name_of_file": "x",
        "settings": [],
        "memory": None,
        "seconds": 1,
    }
    command = [sys.executable, "-P", "-m", "cifar_tune.service.checking_apart"]
    ended = subprocess.run(
        command, input=json.dumps(given), text=True, cwd=tmp_path, timeout=PATIENCE, check=False, capture_output=True
    )
    assert ended.returncode == -signal.SIGALRM, ended.stderr


def test_a_process_that_plugins_let_loose_holds_up_no_check(
    server_desk: StorageDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.service.checking_apart.LONGEST_SECONDS", 1.0)
    code = f"""
import os, pathlib, time
if os.fork() == 0:
    os.setsid()
    pathlib.Path({str(tmp_path / "loose")!r}).write_text(str(os.getpid()))
    time.sleep({PATIENCE})
while True: pass
"""
    (tmp_path / "mine.py").write_text(code)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(server_desk.submit, f"{STUDY}plugins: [mine.py]\n", folder=str(tmp_path))
        try:
            with pytest.raises(UserError, match="do not come to an end"):
                asked.result(timeout=PATIENCE / 4)
        finally:
            with suppress(OSError, ValueError):
                os.kill(int((tmp_path / "loose").read_text()), signal.SIGKILL)


def test_what_plugins_may_use_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, found in (("", 8 << 30), ("2", 2 << 30), ("0", None)):
        monkeypatch.setenv("CIFAR_TUNE_CHECK_MEMORY", given)
        assert memory_limit() == found
    for given in ("much", "-1", "0.1", "nan", "inf"):
        monkeypatch.setenv("CIFAR_TUNE_CHECK_MEMORY", given)
        with pytest.raises(UserError, match=f"CIFAR_TUNE_CHECK_MEMORY = '{given}': must be a number of GiB from 1.5"):
            memory_limit()


def test_numbers_out_of_bounds_are_refused_together(desk_of: DeskOf) -> None:
    with pytest.raises(UserError) as raised:
        desk_of("anna").submit(STUDY, priority=1001, workers=0, notify=["x"] * 21)
    assert [problem.key for problem in raised.value.problems] == ["priority", "workers", "notify"]


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


def test_whoever_submits_a_study_whose_budget_is_used_up_is_told(desk_of: DeskOf, storage: BatchStorage) -> None:
    desk = desk_of("anna", "admin")
    spec = read_study(read_yaml(STUDY, "mine.yaml"), "mine.yaml").spec
    make_record(spec, [MadeTrial({"lr": 0.01}, 0.5)] * 3, storage)
    (note,) = desk.submit(STUDY).notes
    assert note == (
        "mine has 3 of 3 trials already, so it trains nothing; for more of them, submit it with a larger budget, "
        "such as --set budget.trials=6"
    )
    desk.cancel("mine")
    assert desk.submit(STUDY, settings=["budget.trials=4"]).notes == ()


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


def test_what_waits_is_changed_at_once(desk_of: DeskOf) -> None:
    desk = desk_of("anna")
    desk.submit(STUDY)
    assert (desk.pause("mine").state, desk.resume("mine").state) == ("paused", "queued")
    assert desk.set_priority("mine", -3).priority == -3
    assert desk.set_workers("mine", 4).workers == 4
    assert desk.set_workers("mine", None).workers is None
    ended = desk.cancel("mine")
    assert (ended.state, ended.is_living, ended.ended_at is not None) == ("cancelled", False, True)
    for change in (desk.pause, desk.resume, desk.cancel, lambda study: desk.set_priority(study, 1)):
        with pytest.raises(ConflictError, match=r"'mine' has ended \(cancelled\); submit it again"):
            change("mine")


@pytest.mark.parametrize(
    ("wish", "exit_code", "state"),
    [
        ("pause", 130, "paused"),
        ("cancel", 130, "cancelled"),
        ("resume", 130, "queued"),
        ("pause", 0, "done"),
        ("cancel", 0, "done"),
        ("resume", 1, "failed"),
        ("pause", 2, "failed"),
        ("cancel", 1, "cancelled"),
    ],
)
def test_what_runs_is_changed_by_its_end(
    desk_of: DeskOf, engine: Engine, wish: str, exit_code: int, state: str
) -> None:
    desk = desk_of("anna")
    number = desk.submit(STUDY).id
    with engine.begin() as connection:
        assert submissions.begin(connection, number)
        assert not submissions.begin(connection, number)
    asked = getattr(desk, wish)("mine")
    assert (asked.state, asked.wanted) == ("running", "run" if wish == "resume" else wish)
    with engine.begin() as connection:
        assert submissions.end(connection, number, exit_code, "it was so")
        assert not submissions.end(connection, number, 0, "twice")
    found = desk.submission("mine")
    says_nothing = (wish, exit_code) == ("cancel", 130)  # that it was parked says nothing of what does not go on
    assert (found.state, found.message) == (state, None if says_nothing else "it was so")
    assert found.exit_code == (None if exit_code == 130 else exit_code)
    if not found.is_living:
        assert found.ended_at is not None
        desk.submit(STUDY)


def test_a_study_that_is_cancelled_while_it_waits_is_not_said_to_be_parked(desk_of: DeskOf, engine: Engine) -> None:
    desk = desk_of("anna")
    number = desk.submit(STUDY).id
    with engine.begin() as connection:
        submissions.begin(connection, number)
        submissions.end(connection, number, 130, "parked")
    assert desk.submission("mine").message == "parked"
    assert desk.cancel("mine").message is None
    number = desk.submit(STUDY).id
    with engine.begin() as connection:
        submissions.begin(connection, number)
    desk.cancel("mine")
    with engine.begin() as connection:
        submissions.end(connection, number, 130, "parked")
        note_end(connection, number, "parked")
    assert desk.events(None)[-1].detail["why"] == "cancelled"


def test_a_start_and_a_cancellation_at_the_same_instant_lose_nothing(desk_of: DeskOf, engine: Engine) -> None:
    desk = desk_of("anna")
    for number in range(8):
        study = f"s{number}"
        key = desk.submit(STUDY, settings=[f"name={study}"]).id
        barrier, started = Barrier(2), list[bool]()

        def start(key: int, barrier: Barrier, started: list[bool]) -> None:
            barrier.wait()
            with engine.begin() as connection:
                started.append(submissions.begin(connection, key))

        thread = Thread(target=start, args=(key, barrier, started))
        thread.start()
        barrier.wait()
        desk.cancel(study)
        thread.join()
        found = desk.submission(study)
        assert found.wanted == "cancel"
        assert found.state == ("running" if started == [True] else "cancelled")


def test_a_process_that_died_is_counted_and_its_study_queued_again(desk_of: DeskOf, engine: Engine) -> None:
    number = desk_of("anna").submit(STUDY).id
    for deaths in (1, 2):
        with engine.begin() as connection:
            submissions.begin(connection, number)
            assert submissions.requeue(connection, number, "its process died", is_death=True)
            assert not submissions.requeue(connection, number, "its process died", is_death=True)
        found = desk_of("anna").submission("mine")
        assert (found.state, found.deaths, found.message) == ("queued", deaths, "its process died")


def test_what_ended_last_comes_first_of_what_has_ended(desk_of: DeskOf) -> None:
    desk = desk_of("anna")
    for name, priority in (("first", 9), ("second", 0), ("third", 0)):
        desk.submit(STUDY, settings=[f"name={name}"], priority=priority)
    for name in ("third", "first"):
        desk.cancel(name)
    assert [each.study for each in submissions.in_order(desk.submissions())] == ["second", "first", "third"]


def test_a_run_that_parks_ends_the_row_of_deaths_before_it(desk_of: DeskOf, engine: Engine) -> None:
    number = desk_of("anna").submit(STUDY).id
    with engine.begin() as connection:
        submissions.begin(connection, number)
        submissions.requeue(connection, number, "its process died", is_death=True)
        submissions.begin(connection, number)
    assert desk_of("anna").submission("mine").message == "its process died"
    with engine.begin() as connection:
        submissions.end(connection, number, submissions.INTERRUPTED, "parked")
    assert desk_of("anna").submission("mine").deaths == 0
    with engine.begin() as connection:
        submissions.begin(connection, number)
    assert desk_of("anna").submission("mine").message is None, "it is not parked any more"


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


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_state_is_set_last_since_mysql_lets_what_follows_see_the_new_one(desk_of: DeskOf, engine: Engine) -> None:
    statements = list[str]()
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    desk = desk_of("anna")
    number = desk.submit(STUDY).id
    desk.pause("mine")
    desk.resume("mine")
    with engine.begin() as connection:
        submissions.begin(connection, number)
        submissions.end(connection, number, submissions.INTERRUPTED, None)
    desk.cancel("mine")
    updates = [each for each in statements if each.startswith("UPDATE cifar_tune_submissions") and " state=" in each]
    assert len(updates) == 5
    for each in updates:
        changes = each.partition(" WHERE cifar_tune_submissions.id")[0]
        assert re.findall(r"(?:SET|,) (\w+)=", changes)[-1] == "state"


def test_addresses_are_hidden_from_others(desk_of: DeskOf) -> None:
    desk_of("anna").submit(STUDY, notify=["https://example.org/secret"])
    assert desk_of("bert").submission("mine").notify == ("***",)
    assert desk_of("vera", "viewer").queue()[0].notify == ("***",)
    assert desk_of("carl", "admin").submission("mine").notify == ("https://example.org/secret",)


def test_the_nearest_study_is_named(desk_of: DeskOf) -> None:
    desk_of("anna").submit(STUDY)
    with pytest.raises(UnknownStudyError, match=r"nobody has submitted a study 'mime' \(did you mean 'mine'\?\)"):
        desk_of("anna").cancel("mime")
    assert UnknownStudyError.exit_code == 2


def test_quotas_are_kept(desk_of: DeskOf) -> None:
    desk_of("root", "admin").set_owner(Owner("*", queued=2))
    desk_of("root", "admin").set_owner(Owner("anna", trials=7))
    desk = desk_of("anna")
    desk.submit(STUDY)
    desk.submit(STUDY, settings=["name=second"])
    with pytest.raises(QuotaError, match="anna may have 2 waiting studies at most, and has 2"):
        desk.submit(STUDY, settings=["name=third"])
    desk.pause("second")
    with pytest.raises(
        QuotaError, match="may have 7 trials in studies that have not ended, and has 6, so the 3 of this"
    ):
        desk.submit(STUDY, settings=["name=third"])
    desk.submit(STUDY, settings=["name=third", "budget.trials=1"])
    desk_of("bert").submit(STUDY, settings=["name=of-bert", "budget.trials=100"])
    assert limits_of_all(desk_of) == {"*": (None, 2, None), "anna": (None, None, 7), "bert": (None, None, None)}
    assert desk_of("root", "admin").set_owner(Owner("anna", weight=2.0)) == Owner("anna", 2.0, None, 2, 7)
    assert desk_of("root", "admin").set_owner(Owner("anna", slots=1), resets=True) == Owner("anna", 1.0, 1, 2, None)


def test_limits_that_are_lowered_leave_what_is_there_and_refuse_more(desk_of: DeskOf) -> None:
    admin, desk = desk_of("root", "admin"), desk_of("anna")
    desk.submit(STUDY)
    desk.submit(STUDY, settings=["name=second"])
    admin.set_owner(Owner("anna", queued=1, trials=2))
    assert [each.state for each in desk.queue()] == ["queued", "queued"]
    desk.pause("second")
    with pytest.raises(QuotaError, match="anna may have 1 waiting studies at most, and has 1"):
        desk.resume("second")
    desk.cancel("mine")
    assert desk.resume("second").state == "queued"
    with pytest.raises(QuotaError, match="1 waiting studies"):
        desk.submit(STUDY, settings=["budget.trials=9"])
    admin.set_owner(Owner("anna", queued=5))
    with pytest.raises(QuotaError, match="and has 3, so the 9 of this study are too many"):
        desk.submit(STUDY, settings=["budget.trials=9"])


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e-9, 1e9, float("inf"), float("nan")])
def test_weights_are_of_a_size_that_shares_can_have(desk_of: DeskOf, weight: float) -> None:
    with pytest.raises(UserError, match=r"weight = .*: must be between 0\.001 and 1000"):
        desk_of("root", "admin").set_owner(Owner("anna", weight=weight))


def test_nobody_has_a_name_that_means_something_else(desk_of: DeskOf) -> None:
    for name in ("*", "cifar-tune serve"):
        with pytest.raises(UserError, match="cannot be the name of a person"):
            desk_of("root", "admin").create_token(name, "viewer")


def test_a_study_with_other_settings_than_the_stored_one_is_refused(desk_of: DeskOf, storage: BatchStorage) -> None:
    desk = desk_of("anna")
    desk.submit(STUDY)
    desk.cancel("mine")
    make_record(read_study(read_yaml(STUDY, "mine.yaml"), "mine.yaml").spec, [], storage)
    with pytest.raises(NameTakenError, match="belongs to anna"):
        desk_of("bert", "admin").submit(STUDY, settings=["data.val_size=5"])
    with pytest.raises(UserError) as raised:
        desk.submit(STUDY, settings=["search_space.lr.high=0.5"])
    assert str(raised.value).splitlines() == [
        "the storage holds a study 'mine' with other settings (stored -> given):",
        "  search_space.lr.high: 0.1 -> 0.5",
        "Nothing was queued. Give this one another name (`name:` in the file, or --set name=...), or remove the stored "
        "one with: cifar-tune delete mine",
    ]
    assert desk.submit(STUDY, settings=["budget.trials=9"]).trials == 9


def test_a_client_in_a_loop_fills_no_table(desk_of: DeskOf, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("cifar_tune.service.audit.time.time", lambda: now)
    desk = desk_of("anna")
    for _ in range(5):
        for study in ("a", "b"):
            with pytest.raises(UnknownStudyError):
                desk.pause(study)
    desk_of("bert").submit(STUDY)
    with pytest.raises(UnknownStudyError):
        desk_of("bert").pause("a")
    found = [(event.id, event.actor, event.target, event.detail.get("times")) for event in desk.events()]
    assert found == [(1, "anna", "a", 5), (2, "anna", "b", 5), (3, "bert", "mine", None), (4, "bert", "a", None)]
    for number in range(2 * audit.MOST_REFUSALS):
        with pytest.raises(UnknownStudyError):
            desk.cancel(f"s{number}")
    assert len(desk.events()) == 2 + audit.MOST_REFUSALS
    assert desk.events()[-1].detail["others"] == audit.MOST_REFUSALS + 2
    now += 61
    with pytest.raises(UnknownStudyError):
        desk.pause("a")
    assert [event.id for event in desk.events()] == list(range(1, audit.MOST_REFUSALS + 4))


def test_refusals_at_the_same_instant_are_all_counted(desk_of: DeskOf) -> None:
    def pause(_: int) -> None:
        with pytest.raises(UnknownStudyError):
            desk_of("anna").pause("a")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(pause, range(12)))
    [event] = desk_of("anna").events()
    assert event.detail["times"] == 12


def test_a_quota_is_kept_by_those_who_submit_at_the_same_instant(desk_of: DeskOf) -> None:
    desk_of("root", "admin").set_owner(Owner("anna", queued=3))
    barrier = Barrier(6)

    def submit(number: int) -> bool:
        barrier.wait()
        try:
            desk_of("anna").submit(STUDY, settings=[f"name=s{number}"])
        except QuotaError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(submit, range(6))) == 3
    assert len(desk_of("anna").queue()) == 3


def limits_of_all(desk_of: DeskOf) -> dict[str, tuple[object, ...]]:
    """Weight, waiting studies and trials that are said of each owner."""
    return {each.name: (each.weight, each.queued, each.trials) for each in desk_of("anna").owners()}


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
