import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import urlopen

import pytest
from sqlalchemy.engine import URL, make_url

from cifar_tune.dashboard.serve import Dashboard, open_dashboard
from cifar_tune.errors import UserError
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE
from tests.ports import held_port
from tests.waiting import PATIENCE

from .conftest import STUDY, TRIALS


def fetch(dashboard: Dashboard, path: str) -> object:
    with urlopen(dashboard.address.removesuffix("/dashboard") + path) as answer:  # noqa: S310 (our own server)
        return json.load(answer)


def port_of(dashboard: Dashboard) -> int:
    return int(dashboard.address.split(":")[2].split("/")[0])


def status(dashboard: Dashboard, host: str) -> int:
    connection = HTTPConnection("127.0.0.1", port_of(dashboard))
    connection.request("GET", "/api/studies", headers={"Host": host})
    return connection.getresponse().status


def test_it_serves_the_study_and_its_trials(dashboard: Dashboard) -> None:
    listed = fetch(dashboard, "/api/studies")
    assert isinstance(listed, dict)
    assert [study["study_name"] for study in listed["study_summaries"]] == [STUDY]
    study = fetch(dashboard, "/api/studies/1?after=0")
    assert isinstance(study, dict)
    assert [trial["state"].upper() for trial in study["trials"]] == [state for state, _ in TRIALS]
    meta = fetch(dashboard, "/api/meta")
    assert isinstance(meta, dict)
    assert meta["artifact_is_available"] is True


def test_it_answers_many_requests_at_once_and_says_nothing(
    dashboard: Dashboard, capfd: pytest.CaptureFixture[str]
) -> None:
    held = socket.create_connection(("127.0.0.1", port_of(dashboard)))  # asks for nothing, and blocks nobody
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: fetch(dashboard, "/api/studies/1?after=0"), range(48)))
    held.close()
    assert all(answer == answers[0] for answer in answers)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_removed_meanwhile_is_said_in_a_sentence(
    dashboard: Dashboard, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for file in tmp_path.glob("studies.db*"):
        file.unlink()
    connection = HTTPConnection("127.0.0.1", port_of(dashboard))
    connection.request("GET", "/api/studies")
    answer = connection.getresponse()
    assert answer.status == 503
    assert "studies.db was removed while it was in use. Start the dashboard again." in answer.read().decode()
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "studies.db").exists()


def test_it_listens_on_loopback_alone(dashboard: Dashboard) -> None:
    assert dashboard.address.startswith("http://127.0.0.1:")
    with socket.socket() as client:  # another address of this machine, that a server on all of them would have too
        assert client.connect_ex(("127.0.0.2", port_of(dashboard))) != 0


@pytest.mark.parametrize(("host", "wanted"), [("127.0.0.1", 200), ("localhost:9000", 200), ("evil.example:8080", 403)])
def test_it_answers_to_the_names_of_this_machine_alone(dashboard: Dashboard, host: str, wanted: int) -> None:
    assert status(dashboard, host) == wanted


def test_a_port_in_use_names_the_next_free_one(url: URL) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"^port = {port}: is in use; the next free one is \d+$") as raised:
            open_dashboard(url, port)
    free = int(str(raised.value).split()[-1])
    assert free > port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free))


def test_a_port_beyond_all_ports(url: URL) -> None:
    with pytest.raises(UserError, match="port = 70000: must be a whole number from 0 to 65535"):
        open_dashboard(url, 70000)


def test_a_storage_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "typo.db"
    with pytest.raises(UserError, match="no studies to show: there is no such file yet"):
        open_dashboard(make_url(f"sqlite:///{file}"))
    assert not file.exists()


def test_a_file_of_another_program_holds_no_studies_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    before = file.read_bytes()
    with pytest.raises(UserError, match="no studies to show: the file holds none"):
        open_dashboard(make_url(f"sqlite:///{file}"))
    assert file.read_bytes() == before


def test_an_artifacts_folder_that_cannot_be_made(url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(tmp_path / "file" / "artifacts"))
    with pytest.raises(UserError, match="the folder cannot be made"):
        open_dashboard(url)


@pytest.fixture
def port() -> Iterator[int]:
    with held_port() as port:
        yield port


def test_after_shutdown_the_port_is_free_again(url: URL, port: int) -> None:
    first = open_dashboard(url, port)
    thread = threading.Thread(target=first.serve_forever)
    thread.start()
    fetch(first, "/api/meta")
    first.shutdown()
    thread.join()
    second = open_dashboard(url, port)
    assert second.address == first.address
    second._server.server_close()


def test_the_browser_opens_at_the_address(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    asked = threading.Event()

    def open_browser(address: str) -> None:
        opened.append(address)
        asked.set()

    monkeypatch.setattr("webbrowser.open", open_browser)
    dashboard = open_dashboard(url, 0)
    thread = threading.Thread(target=dashboard.serve_forever, kwargs={"open_browser": True})
    thread.start()
    assert asked.wait(PATIENCE)
    dashboard.shutdown()
    thread.join()
    assert opened == [dashboard.address]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org", socket.gethostname(), ""])  # noqa: S104
def test_an_address_that_others_reach_is_refused_with_the_consequence(url: URL, host: str) -> None:
    with pytest.raises(UserError) as raised:
        open_dashboard(url, port=0, host=host)
    assert str(raised.value).startswith(f"--host = {host!r}: can be reached by others, and the dashboard has no auth")
    assert "delete it; if that is meant, add --allow-remote" in str(raised.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2"])
def test_loopback_needs_no_permission(url: URL, host: str) -> None:
    page = open_dashboard(url, port=0, host=host)
    page._server.server_close()
    assert page.warning == ""


@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("no such name", "is neither an address nor a known name"),
        ("x" * 300, "is neither an address nor"),
        ("192.0.2.1", "is not an address of this machine"),
    ],
)
def test_a_host_that_is_not_this_machine(url: URL, host: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        open_dashboard(url, port=0, host=host, allow_remote=True)


@pytest.fixture
def remote(url: URL) -> Iterator[Dashboard]:
    page = open_dashboard(url, port=0, host="0.0.0.0", allow_remote=True)  # noqa: S104
    thread = threading.Thread(target=page.serve_forever)
    thread.start()
    yield page
    page.shutdown()
    thread.join()


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("127.0.0.1:80", 200), ("localhost", 200), ("192.168.1.7:8080", 200), ("[fe80::1]:8080", 200),
        (socket.gethostname().upper(), 200), ("evil.example:8080", 403), ("127.0.0.1.evil.example", 403), ("", 403),
    ],
)  # fmt: skip
def test_with_permission_addresses_and_own_names_are_answered(remote: Dashboard, host: str, wanted: int) -> None:
    assert status(remote, host) == wanted
    assert "no authentication" in remote.warning
    assert remote.address.startswith("http://127.0.0.1:"), "0.0.0.0 is no address that a browser can open"
    assert remote.elsewhere == remote.address.replace("127.0.0.1", socket.gethostname())


def test_a_refused_name_is_told_how_to_be_allowed(remote: Dashboard, dashboard: Dashboard) -> None:
    for page in (remote, dashboard):
        connection = HTTPConnection("127.0.0.1", port_of(page))
        connection.request("GET", "/dashboard", headers={"Host": "gpu-box.lab:8080"})
        answer = connection.getresponse()
        assert answer.status == 403
        words = answer.read().decode()
        assert words.startswith("The dashboard answers to ")
        assert words.endswith("If gpu-box.lab is meant to be this machine, start it with --allow-host gpu-box.lab.\n")


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_names_that_were_allowed_are_answered(url: URL, listen: str) -> None:
    names = ("GPU-box.lab", "tunnel.example.org.")
    page = open_dashboard(url, port=0, host=listen, allow_remote=True, allowed_hosts=names)
    thread = threading.Thread(target=page.serve_forever)
    thread.start()
    try:
        asked = ("gpu-box.lab:8080", "GPU-BOX.LAB", "tunnel.example.org", "localhost")
        assert [status(page, host) for host in asked] == [200] * 4
        assert [status(page, host) for host in ("evil.example", "x.gpu-box.lab", "lab")] == [403] * 3
    finally:
        page.shutdown()
        thread.join()


def test_allowed_names_that_are_none(url: URL) -> None:
    with pytest.raises(UserError) as refused:
        open_dashboard(url, port=0, allowed_hosts=["http://x", "x:80", "good.example", "", "*", "a/b"])
    assert [problem.value for problem in refused.value.problems] == ["http://x", "x:80", "", "*", "a/b"]
    assert "must be a host name such as gpu-box.example.org" in str(refused.value)


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "/etc/passwd", "%00", "a" * 5000]
)
def test_artifacts_cannot_be_asked_for_by_path(dashboard: Dashboard, path: str) -> None:
    connection = HTTPConnection("127.0.0.1", port_of(dashboard))
    for prefix in ("/artifacts/1/", "/artifacts/1/1/"):
        connection.request("GET", prefix + path)
        answer = connection.getresponse()
        assert (answer.status, b"root:" in answer.read()) == (404, False)
