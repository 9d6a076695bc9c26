"""`status`, `export`, `watch` and `delete` over HTTP say the same as on the database, and outlast a restart."""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy.engine import URL

from cifar_tune.cli import queue_lines, submitting, watching
from cifar_tune.cli.served_studies import served_comparison
from cifar_tune.cli.server_watching import ServerWatcher
from cifar_tune.client import HttpDesk
from cifar_tune.errors import CheckError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service import submissions
from cifar_tune.service.people import Actor
from cifar_tune.service.storage_desk import StorageDesk
from cifar_tune.storage.lease import acquire
from cifar_tune.web.serving import HttpServer
from cifar_tune.web.settings import WebSettings
from tests.ports import held_port
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import wait_until
from tests.web.conftest import AppOf, Template, app, app_of, storage, study_text, template, url
from tests.web.serving import serving

from .conftest import Cli

__all__ = ["app", "app_of", "storage", "template", "url"]


@pytest.fixture(scope="module")
def address(app_of: AppOf) -> Iterator[str]:
    """A real server on a port of its own."""
    with serving(app_of()) as address:
        yield address.rstrip("/")


@pytest.fixture
def port() -> Iterator[int]:
    """For a server that is started again."""
    with held_port() as port:
        yield port


@pytest.fixture
def desk(storage: BatchStorage, url: URL) -> StorageDesk:
    """Anna's, on the database."""
    return StorageDesk(storage.engine, url, Actor("anna", "editor"))


@pytest.fixture
def there(address: str, template: Template, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The options by which a command asks the server, with anna's token."""
    monkeypatch.setenv("CIFAR_TUNE_TOKEN", template.tokens["editor"])
    return "--server", address


@pytest.fixture
def here(url: URL) -> tuple[str, str]:
    """The options by which a command asks the same database."""
    return "--storage", url.render_as_string()


Options = tuple[str, str]


def test_status_is_the_same_by_both_ways(cli: Cli, here: Options, there: Options, address: str) -> None:
    for arguments in (("status",), ("status", "made"), ("status", "front", "--json"), ("watch", "made", "--once")):
        ours, theirs = cli(*arguments, *here), cli(*arguments, *there)
        assert (theirs.code, theirs.err) == (ours.code, ours.err) == (0, ""), arguments
        assert theirs.out == ours.out, arguments
    ours, theirs = json.loads(cli("status", "--json", *here).out), json.loads(cli("status", "--json", *there).out)
    assert theirs == {"storage": address, "studies": ours["studies"]}
    assert [each["name"] for each in theirs["studies"]] == ["front", "made"]


def test_the_queue_says_how_far_studies_are_by_both_ways(
    cli: Cli, here: Options, there: Options, storage: BatchStorage, desk: StorageDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(queue_lines, "time", SimpleNamespace(time=lambda: now))  # both answers are of one moment
    number = desk.submit(study_text("halfway")).id
    spec = make_spec({"lr": {"low": 1e-3, "high": 0.1}}, name="halfway")
    trials = [MadeTrial({"lr": 0.01}, 0.5), MadeTrial({"lr": 0.02}, 0.75), MadeTrial({"lr": 0.03}, None, "RUNNING", 2)]
    make_record(spec, trials, storage)
    with storage.engine.begin() as connection:
        submissions.begin(connection, number)
    lines = {line.split()[0]: line.split() for line in cli("queue", *here).out.splitlines()[2:]}
    assert lines["halfway"][:6] == ["halfway", "anna", "running", "2/3", "val_accuracy", "0.7500"]
    assert lines["paused"][:4] == ["paused", "anna", "paused", "0"], "it has not begun, so there is only its priority"
    for arguments in (("queue",), ("queue", "--all")):
        ours, theirs = cli(*arguments, *here), cli(*arguments, *there)
        assert (theirs.code, theirs.out) == (ours.code, ours.out) == (0, ours.out), arguments
    for way in (here, there):
        [told] = [each for each in json.loads(cli("queue", "--json", *way).out) if each["study"] == "halfway"]
        assert told["so_far"] == {"finished": 2, "running": 1, "metric": "val_accuracy", "best": 0.75, "trial": 1}


@pytest.mark.usefixtures("blank_pictures")
def test_the_report_is_the_same_by_both_ways(cli: Cli, here: Options, there: Options, tmp_path: Path) -> None:
    assert cli("export", "front", "--format", "svg", *here).code == 0
    shutil.move("reports/front", "here")
    stale = tmp_path / "reports" / "front" / "front" / "trial-999.yaml"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier report")
    ended = cli("export", "front", "--format", "svg", *there)
    assert (ended.code, ended.err) == (0, "")

    def files(folder: str) -> set[str]:
        return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}

    assert files("reports/front") == files("here") == {str(Path(line).relative_to("reports/front"))
                                                       for line in ended.out.splitlines()}  # fmt: skip
    assert not stale.exists()
    for name in ("trials.csv", "epochs.csv", "best.yaml", "summary.md", "pareto.png", "pareto.svg", "slices.svg"):
        assert (Path("reports/front") / name).read_bytes() == (Path("here") / name).read_bytes(), name
    ended = cli("export", "front", "--weights", "--output", "new", *there)
    assert ended.code == 2
    assert "cifar-tune finalize front" in ended.err
    assert not Path("new").exists()


@pytest.mark.usefixtures("blank_pictures")
def test_a_comparison_is_the_same_by_both_ways(cli: Cli, here: Options, there: Options, tmp_path: Path) -> None:
    found = {}
    for way, folder in ((here, "ours"), (there, "theirs")):
        ended = cli("compare", "made", "--by", "optimizer", "--format", "svg", "--output", folder, *way)
        assert ended.code == 0, ended.err
        files = [Path(line) for line in ended.err.splitlines()]
        assert [file.name for file in files] == [f"compare-optimizer.{kind}" for kind in ("md", "csv", "png", "svg")]
        assert {file.parent for file in files} == {Path(folder)}
        assert files[3].read_text().startswith("<?xml")
        found[folder] = (ended.out, *(file.read_bytes() for file in files[:3]))
    assert found["theirs"] == found["ours"]
    assert "| sgd |" in found["theirs"][0]
    for wrong in (("--by", "optimzer"), ("--by", "epochs")):
        ours, theirs = cli("compare", "made", *wrong, *here), cli("compare", "made", *wrong, *there)
        assert (theirs.code, theirs.err) == (ours.code, ours.err) == (2, ours.err), wrong
    assert "compare-optimzer" not in str([*tmp_path.rglob("*")])


def test_the_files_of_a_comparison_are_of_one_moment() -> None:
    """A trial of a running study may end between two questions."""

    class Running:
        moment = 0

        def compare(self, _study: str, _knob: str) -> Mapping[str, str]:
            return {"markdown": f"table {self.moment}"}

        def compare_file(self, _study: str, _knob: str, kind: str) -> bytes:
            self.moment = max(self.moment, int(kind == "csv"))
            return f"{kind} {self.moment}".encode()

    name, told, found = served_comparison("x", "lr", cast(HttpDesk, Running()), ["svg"])
    assert (name, told) == ("x", "table 1")
    assert set(found.values()) == {b"md 1", b"csv 1", b"png 1", b"svg 1"}


def test_what_cannot_be_had_is_said(cli: Cli, there: Options, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("name: x\ntrain: {optimzer: sgd}\n")
    for command, code, words in (
        ("status queued", 2, "queued: has not begun: it is queued"),
        ("status maid", 2, "there is no study 'maid' (did you mean 'made'?)"),
        ("watch maid", 2, "nobody has submitted a study 'maid'"),
        ("export maid", 2, "there is no study 'maid'"),
        ("export wrong.yaml", 2, "wrong.yaml:2: train.optimzer: unknown key"),
        ("status absent.yaml", 2, "absent.yaml: there is no such study file"),
        ("delete made --yes", 1, "anna may not delete the study 'made'"),
        ("status made --storage sqlite:///x.db", 2, "name a server or a database, not both"),
    ):
        ended = cli(*command.split(), *there)
        assert (ended.code, words in ended.err) == (code, True), (command, ended.err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.yaml"]


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "front/../../escaped", "", "a//b", "back\\slash"])
def test_a_server_cannot_write_outside_of_the_folder(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CIFAR_TUNE_TOKEN", "ct_any")
    monkeypatch.setattr(HttpDesk, "report", lambda *_: ["trials.csv", name])
    monkeypatch.setattr(HttpDesk, "report_file", lambda *_: b"x")
    ended = cli("export", "made", "--server", "http://127.0.0.1:1")
    assert ended.code == 1
    assert "which no report has" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_ones_own_study_is_deleted(cli: Cli, there: Options, desk: StorageDesk) -> None:
    desk.submit(study_text("going"))
    assert cli("delete", "going", "--yes", *there).err == (
        "cifar-tune: the study 'going' is queued; cancel it first: cifar-tune cancel going\n"
    )
    desk.cancel("going")
    assert cli("delete", "going", "--yes", *there).out == "removed going (0 trials)\n"


def test_a_submitted_study_is_watched_to_its_end(
    cli: Cli, there: Options, desk: StorageDesk, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.cli.server_watching.AGAIN_SECONDS", 0.05)
    number = desk.submit(study_text("waiting")).id

    def play() -> None:
        with storage.engine.begin() as connection:  # at once: in between it would be seen to run
            submissions.begin(connection, number)
            submissions.end(connection, number, 1, "so it was")

    playing = Thread(target=play)
    looks = SimpleNamespace(sleep=lambda _: None if playing.ident else playing.start(), monotonic=time.monotonic)
    monkeypatch.setattr(watching, "time", looks)
    ended = cli("watch", "waiting", *there)
    playing.join()
    assert ended.code == 0
    assert [line for line in ended.out.splitlines() if line] == [
        "waiting has not begun: it is queued",
        "waiting never began: it is failed; so it was",
    ]


def test_watching_outlasts_a_restart_of_the_server(
    app_of: AppOf, template: Template, storage: BatchStorage, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.cli.server_watching.AGAIN_SECONDS", 0.05)
    lease = acquire(storage.engine, "made")

    def looked(wanted: bool) -> bool:
        watcher.look()
        return bool(watcher.trouble) is wanted

    settings = WebSettings(port=port)
    with serving(app_of(), settings) as address:
        client = HttpDesk(address.rstrip("/"), template.tokens["viewer"])
        watcher = ServerWatcher(client, "made")
        assert looked(False)
        assert watcher.state is not None
        assert watcher.state["status"]["owner"] is not None
    wait_until(lambda: looked(True))
    assert "does not answer" in watcher.trouble or "has ended the stream" in watcher.trouble
    assert not watcher.is_over
    trial = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name("made"), 40)
    storage.set_trial_intermediate_value(trial, 3, 0.4)
    with serving(app_of(), settings):
        wait_until(lambda: looked(False))
        assert watcher.state["running"][0]["intermediate"][-1] == [3, 0.4]
        assert not watcher.is_over
        lease.release()
        wait_until(lambda: looked(False) and watcher.is_over)  # the run that was seen is gone
        watcher.close()
        client.close()


def test_a_study_that_is_deleted_ends_the_watching(
    address: str, template: Template, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.cli.server_watching.AGAIN_SECONDS", 0.05)
    with HttpDesk(address, template.tokens["viewer"]) as client:
        watcher = ServerWatcher(client, "front")
        watcher.look()
        storage.delete_study(storage.get_study_id_from_name("front"))

        def is_told() -> bool:
            try:
                watcher.look()
            except CheckError as error:
                return "was deleted or renamed while it was watched" in str(error)
            return False

        wait_until(is_told)


def test_waiting_for_a_submitted_study_outlasts_a_restart_of_the_server(
    cli: Cli,
    app_of: AppOf,
    template: Template,
    storage: BatchStorage,
    desk: StorageDesk,
    port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CIFAR_TUNE_TOKEN", template.tokens["editor"])
    (tmp_path / "study.yaml").write_text(study_text("outlasting"))
    servers = [HttpServer(app_of(), WebSettings(port=port))]
    servers[0].start()
    address = servers[0].address.rstrip("/")

    def stop() -> None:
        servers[0].stop()

    def end() -> None:
        number = desk.submission("outlasting").id
        with storage.engine.begin() as connection:
            submissions.begin(connection, number)
        with storage.engine.begin() as connection:
            submissions.end(connection, number, 1, "so it was")
        servers.append(HttpServer(app_of(), WebSettings(port=port)))
        servers[1].start()

    steps = iter((stop, end))
    monkeypatch.setattr(submitting, "time", SimpleNamespace(sleep=lambda _: next(steps)()))
    try:
        ended = cli("submit", "study.yaml", "--wait", "--server", address)
    finally:
        for server in servers:
            server.stop()
    assert ended.code == 1
    assert "outlasting: queued" in ended.err
    assert f"{address} does not answer" in ended.err
    assert ended.out.endswith("outlasting has ended: failed (so it was)\n")
