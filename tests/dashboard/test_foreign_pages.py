"""No page of another site can read the dashboard or change anything through it; the browser is the judge."""

import json
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import WebDriverWait
from sqlalchemy.engine import URL

from cifar_tune.dashboard.serve import Dashboard, open_dashboard
from cifar_tune.optuna_internals import study_id, trial_id
from cifar_tune.storage.rdb import close, open_storage
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import PATIENCE

from .conftest import STUDY

CURVES = "/artifacts/1/1/c1fa-00000001-02"


def ask(
    dashboard: Dashboard, headers: Mapping[str, str], method: str = "GET", path: str = "/api/studies"
) -> tuple[int, dict[str, str], str]:
    port = int(dashboard.address.split(":")[2].split("/")[0])
    connection = HTTPConnection("127.0.0.1", port)
    own = f"http://127.0.0.1:{port}"
    connection.request(method, path, headers={key: value.replace("OWN", own) for key, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace")


@pytest.mark.parametrize(
    "headers",
    [
        {},  # curl, or an old browser
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},  # a link
        {"Origin": "OWN", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_what_the_dashboard_itself_asks_for_is_answered(dashboard: Dashboard, headers: dict[str, str]) -> None:
    assert ask(dashboard, headers)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},  # a sandboxed frame, or a file
        {"Origin": "http://127.0.0.1:1"},  # another program of this machine
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/studies", CURVES, "/dashboard", f"/report/{STUDY}/"])
def test_what_other_pages_ask_for_is_refused(dashboard: Dashboard, headers: dict[str, str], path: str) -> None:
    status, _, words = ask(dashboard, headers, path=path)
    assert status == 403
    assert "asked for by a page of another site" in words
    assert ("--allow-host" in words) == ("evil.example" in headers.get("Origin", ""))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_is_changed_by_a_link_or_a_form_of_another_page(dashboard: Dashboard, method: str) -> None:
    form = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for headers in (form, {"Origin": "http://evil.example"}):
        assert ask(dashboard, headers, method, "/api/studies/1")[0] == 403
    assert STUDY in ask(dashboard, {})[2]


@pytest.mark.parametrize("path", ["/api/studies", CURVES, "/dashboard", "/nothing"])
def test_no_answer_invites_other_sites(dashboard: Dashboard, path: str) -> None:
    _, headers, _ = ask(dashboard, {}, path=path)
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"


def test_a_proxy_may_stand_before_it_under_a_name_that_is_allowed(url: URL) -> None:
    """It may pass its own name on, or not; and it speaks https where we do not."""
    opened = open_dashboard(url, 0, allowed_hosts=["gpu.example.org"])
    thread = threading.Thread(target=opened.serve_forever)
    thread.start()
    try:
        for host in ({"Host": "gpu.example.org"}, {}):
            assert ask(opened, host | {"Origin": "https://gpu.example.org"})[0] == 200
            status, _, words = ask(opened, host | {"Origin": "https://Other.example.org"})
            assert (status, "--allow-host other.example.org" in words) == (403, True)
    finally:
        opened.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def foreign_page() -> Iterator[str]:
    """The address of a page of somebody else's, on this machine."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>foreign</title>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    # with a thread for each connection: a browser opens more than it uses, and keeps them for a minute
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    thread.join(PATIENCE)
    server.server_close()


@pytest.fixture
def own_files(dashboard: Dashboard, url: URL) -> str:
    """The path of the files that the dashboard makes for a trial of ours, whose names anybody can guess."""
    storage = open_storage(url)
    study = make_record(make_spec({"lr": {"low": 0.1, "high": 1}}), [MadeTrial({"lr": 0.1}, 0.5)], storage).study
    trial, own = trial_id(study.get_trials()[0]), study_id(study)
    close(storage)
    path = f"/artifacts/{own}/{trial}/c1fa-{trial:08x}"
    assert [ask(dashboard, {}, path=f"{path}-{kind}")[0] for kind in ("01", "02")] == [200, 200]
    return path


@pytest.mark.browser
def test_a_browser_lets_no_foreign_page_read_it(
    dashboard: Dashboard, browser: Chrome, foreign_page: str, own_files: str
) -> None:
    browser.get(foreign_page)
    base = dashboard.address.removesuffix("/dashboard")
    tried = browser.execute_async_script(
        """
        const [base, path, done] = arguments;
        const text = (options) => fetch(base + path + "-02", options).then(
            (answer) => answer.text().then((text) => ["read", text]), () => ["refused", ""]);
        const picture = new Promise((resolve) => {
            const image = new Image();
            image.onload = () => resolve(["read", ""]);
            image.onerror = () => resolve(["refused", ""]);
            image.src = base + path + "-01";
        });
        const remove = fetch(base + "/api/studies/1", {method: "DELETE"}).then(
            () => ["read", ""], () => ["refused", ""]);
        Promise.all([text({}), text({mode: "no-cors"}), picture, remove]).then((all) => done(JSON.stringify(all)));
        """,
        base,
        own_files,
    )
    cors, opaque, picture, remove = json.loads(tried)
    assert (cors, picture, remove) == (["refused", ""], ["refused", ""], ["refused", ""])
    assert opaque[1] == ""  # may be answered, but never read
    browser.get(dashboard.address)  # a link to it works, and the study is there
    WebDriverWait(browser, PATIENCE).until(lambda page: STUDY in page.page_source)
