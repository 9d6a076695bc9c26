"""The desk of a server, over HTTP."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx2

from cifar_tune.client.answers import Told, made_of, parsed, refuse
from cifar_tune.errors import Problem, UserError
from cifar_tune.service.audit import Event
from cifar_tune.service.desk import Stopped
from cifar_tune.service.owners import Owner
from cifar_tune.service.people import Role, Token
from cifar_tune.service.refusals import AwayError, UnknownStudyError
from cifar_tune.service.submissions import State, Submission
from cifar_tune.study.removing import Removed
from cifar_tune.visible import visible

_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
_REPORT_SECONDS = 900.0
"""The server makes a report when it is asked for, one at a time."""

_SILENCE_SECONDS = 60.0
"""A stream that says nothing for this long has broken: the server sends a line each 15 s."""

_PAGE = 500
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")
"""What OpenSSL says of an answer without TLS."""

_UNKNOWN_SIGNER = "if its certificate is one of your lab, set SSL_CERT_FILE to the file with whoever has signed it"


class HttpDesk:
    """Everything in `cifar_tune.service.desk.Desk`, asked from a server; and what only a server has.

    Args:
        server: its address, such as `https://gpu-box.example.org` or `http://127.0.0.1:8000`.
        token: that says who asks.
        transport: how requests travel; None for the network.

    Raises:
        UserError: it is no such address.
    """

    def __init__(self, server: str, token: str, transport: httpx2.BaseTransport | None = None) -> None:
        self.server = _address(server)
        self._client = httpx2.Client(
            base_url=f"{self.server}/v1/",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=httpx2.Timeout(_SECONDS, connect=_CONNECT_SECONDS),
            transport=transport,
            follow_redirects=False,  # the token is for this server alone
        )

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

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
        body = {
            "text": text, "file": name_of_file[-200:], "overrides": list(settings), "priority": priority,
            "workers": workers, "notify": list(notify),
        }  # fmt: skip
        return _submission(self._ask("POST", "studies", json=body))

    def queue(self) -> list[Submission]:
        """See `Desk`."""
        return [_submission(each) for each in self._ask("GET", "queue")["submissions"]]

    def submissions(
        self,
        states: Collection[State] | None = None,
        owner: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[Submission]:
        """See `Desk`."""
        found: list[Submission] = []
        while True:
            wanted = {"owner": owner, "before": before, "limit": _PAGE}
            page = [_submission(each) for each in self._ask("GET", "submissions", params=wanted)["submissions"]]
            found += [each for each in page if states is None or each.state in states]
            if len(page) < _PAGE or (limit is not None and len(found) >= limit):
                return found[:limit]
            before = page[-1].id

    def submission(self, study: str) -> Submission:
        """See `Desk`."""
        return _submission(self._ask("GET", f"submissions/{_part(study)}"))

    def pause(self, study: str) -> Submission:
        """See `Desk`."""
        return _submission(self._ask("POST", f"studies/{_part(study)}/pause"))

    def resume(self, study: str) -> Submission:
        """See `Desk`."""
        return _submission(self._ask("POST", f"studies/{_part(study)}/resume"))

    def cancel(self, study: str) -> Submission:
        """See `Desk`."""
        return _submission(self._ask("POST", f"studies/{_part(study)}/cancel"))

    def set_priority(self, study: str, priority: int) -> Submission:
        """See `Desk`."""
        return _submission(self._ask("PATCH", f"studies/{_part(study)}", json={"priority": priority}))

    def set_workers(self, study: str, workers: int | None) -> Submission:
        """See `Desk`."""
        return _submission(self._ask("PATCH", f"studies/{_part(study)}", json={"workers": workers}))

    def stop(self, study: str) -> Stopped:
        """See `Desk`."""
        return made_of(Stopped, self._ask("POST", f"studies/{_part(study)}/stop"))

    def delete(self, study: str) -> Removed:
        """See `Desk`."""
        gone = self._ask("DELETE", f"studies/{_part(study)}", params={"confirm": study})
        return made_of(Removed, gone)

    def events(self, after: int | None = 0, limit: int | None = None) -> list[Event]:
        """See `Desk`."""
        found: list[Event] = []
        while True:
            most = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = self._ask("GET", "events", params={"after": after, "limit": most})["events"]
            found += [made_of(Event, each) for each in page]
            is_whole = limit is not None and len(found) >= limit
            if len(page) < most or is_whole or after is None:
                return found
            after = found[-1].id

    def tokens(self) -> list[Token]:
        """See `Desk`."""
        return [made_of(Token, each) for each in self._ask("GET", "tokens")["tokens"]]

    def create_token(
        self, owner: str, role: Role, label: str = "", expires_at: float | None = None
    ) -> tuple[Token, str]:
        """See `Desk`."""
        body = {"owner": owner, "role": role, "label": label, "expires_at": expires_at}
        made = self._ask("POST", "tokens", json=body)
        return made_of(Token, {key: value for key, value in made.items() if key != "secret"}), str(made["secret"])

    def revoke_token(self, number: int) -> Token:
        """See `Desk`."""
        return made_of(Token, self._ask("DELETE", f"tokens/{number}"))

    def owners(self) -> list[Owner]:
        """See `Desk`."""
        return [made_of(Owner, each) for each in self._ask("GET", "owners")["owners"]]

    def set_owner(self, owner: Owner, resets: bool = False) -> Owner:
        """See `Desk`."""
        limits = {"weight": owner.weight, "slots": owner.slots, "queued": owner.queued, "trials": owner.trials}
        body = {**limits, "resets": resets}
        return made_of(Owner, self._ask("PATCH", f"owners/{_part(owner.name)}", json=body))

    def study(self, name: str) -> Mapping[str, Any]:
        """One study: its submission, its status as `cifar-tune status --json` has it, and the rights of who asks."""
        return self._ask("GET", f"studies/{_part(name)}")

    def studies(
        self, owner: str | None = None, contains: str | None = None, details: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        """All studies, the newest first; of one owner, or with a part of their names.

        With `details`, each one that has begun has its `status` as `cifar-tune status --json` has it.
        """
        offset = 0
        while True:
            wanted = {"offset": offset, "limit": _PAGE, "owner": owner, "contains": contains, "details": details}
            page = self._ask("GET", "studies", params=wanted)
            yield from page["studies"]
            offset += len(page["studies"])
            if offset >= page["total"] or not page["studies"]:
                return

    def live(self, study: str) -> Mapping[str, Any]:
        """One study as it stands, with the trials that run and those that ended last: what `watch` yields."""
        return self._ask("GET", f"studies/{_part(study)}/live")

    def trials(self, study: str) -> Iterator[Mapping[str, Any]]:
        """All trials of a study, with the value after each epoch."""
        first: int | None = 0
        while first is not None:
            page = self._ask("GET", f"studies/{_part(study)}/trials", params={"first": first, "limit": _PAGE})
            yield from page["trials"]
            first = page["next"]

    def best(self, study: str) -> Mapping[str, Any]:
        """The best configuration of a study."""
        return self._ask("GET", f"studies/{_part(study)}/best")

    def report(self, study: str, formats: Sequence[str] = ()) -> list[str]:
        """The names of the files that an export would have, with each picture also in `formats`: `svg` or `pdf`."""
        wanted = {"format": list(dict.fromkeys(formats))}
        found = self._ask("GET", f"studies/{_part(study)}/report", params=wanted, seconds=_REPORT_SECONDS)
        return [str(each["name"]) for each in found["files"]]

    def report_file(self, study: str, name: str) -> bytes:
        """One of these files."""
        path = f"studies/{_part(study)}/report/{_part(name)}"
        return self._send("GET", path, seconds=_REPORT_SECONDS).content

    def compare(self, study: str, knob: str) -> Mapping[str, Any]:
        """The levels of a knob side by side."""
        return self._ask("GET", f"studies/{_part(study)}/compare", {"by": knob}, seconds=_REPORT_SECONDS)

    def compare_file(self, study: str, knob: str, kind: str) -> bytes:
        """The same as a file: `md`, `csv`, `png`, `svg` or `pdf`."""
        path = f"studies/{_part(study)}/compare/{kind}"
        return self._send("GET", path, {"by": knob}, seconds=_REPORT_SECONDS).content

    def model(self, study: str) -> list[str]:
        """The names of the files of the model that `finalize` has kept."""
        return [str(each["name"]) for each in self._ask("GET", f"studies/{_part(study)}/model")["files"]]

    def model_file(self, study: str, name: str) -> bytes:
        """One of these files."""
        return self._send("GET", f"studies/{_part(study)}/model/{_part(name)}").content

    def watch(self, study: str) -> Iterator[Mapping[str, Any] | Submission]:
        """The state of a study whenever it changes, until the connection breaks or the server ends it.

        Before the first run of a submitted study, it is its submission.

        Raises:
            AwayError: the server does not answer, or falls silent.
        """
        timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        with self._away(), self._client.stream("GET", f"studies/{_part(study)}/stream", timeout=timeout) as answer:
            if answer.status_code != HTTPStatus.OK:
                answer.read()
                refuse(answer)
            for event in httpx2.EventSource(answer):
                if event.event == "study":
                    yield parsed(event.data, self.server)
                elif event.event == "waiting":
                    yield _submission(parsed(event.data, self.server))

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        json: object = None,
        seconds: float = _SECONDS,
    ) -> Told:
        """The object in the answer to a request.

        Raises:
            CheckError: there is none: somebody else has answered.
            CifarTuneError: as `_send`.
        """
        return parsed(self._send(method, path, params, json, seconds).content, self.server)

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        json: object = None,
        seconds: float = _SECONDS,
    ) -> httpx2.Response:
        """The answer to a request.

        Raises:
            CifarTuneError: what the server says is wrong, as the desk on the database raises it.
            AwayError: it does not answer.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        with self._away():
            timeout = httpx2.Timeout(seconds, connect=_CONNECT_SECONDS)
            answer = self._client.request(method, path, params=given, json=json, timeout=timeout)
        if not answer.is_success:
            refuse(answer)
        return answer

    @contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except httpx2.RequestError as error:
            words = visible(str(error)) or type(error).__name__
            raise AwayError(f"{self.server} does not answer: {words}{_advice(self.server, words)}") from error


def _submission(plain: Mapping[str, Any]) -> Submission:
    return made_of(Submission, {**plain, "text": plain.get("text") or "", "folder": None})


def _advice(server: str, words: str) -> str:
    """What most likely helps, behind a semicolon, when a server could not be asked."""
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return f"; {_UNKNOWN_SIGNER}"
    if server.startswith("https://") and any(each in words for each in _NO_TLS):
        return f"; it seems to have no TLS: is its address http://{server.removeprefix('https://')}?"
    if server.startswith("http://") and "without sending a response" in words:
        return f"; if it has TLS, its address is https://{server.removeprefix('http://')}"
    return ""


def _part(name: str) -> str:
    """A name as a part of a path: a slash in it stays, since finalize names what it makes STUDY/finals.

    Raises:
        UnknownStudyError: it would lead to another part of the server.
    """
    if not name or {".", ".."} & set(name.split("/")):
        raise UnknownStudyError(f"there is no study {name!r}")
    return quote(name, safe="/")


def _address(server: str) -> str:
    try:
        parts = urlsplit(server if "://" in server else f"http://{server}")
        is_sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        httpx2.URL(parts.geturl())
    except (ValueError, httpx2.InvalidURL):  # the port is no number, or an address of IPv6 is none
        parts, is_sound = urlsplit(""), False
    if not is_sound or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UserError(Problem("must be an address such as https://gpu-box.example.org or http://127.0.0.1:8000",
                                "--server", server))  # fmt: skip
    if parts.username is not None or parts.password is not None:
        raise UserError(
            Problem("holds a name or a password; say who you are with a token (CIFAR_TUNE_TOKEN)", "--server")
        )
    return f"{parts.scheme}://{parts.netloc}"
