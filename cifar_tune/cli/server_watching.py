"""`cifar-tune watch --server`: follows the stream of a study, also over breaks of the connection."""

from threading import Event, Lock, Thread

from cifar_tune.cli.queue_lines import state_words
from cifar_tune.cli.served_studies import not_begun
from cifar_tune.cli.watch_frame import RunSeen, State, is_over
from cifar_tune.client import HttpDesk
from cifar_tune.errors import CheckError, CifarTuneError
from cifar_tune.service.refusals import AwayError, UnknownStudyError
from cifar_tune.service.submissions import Submission

AGAIN_SECONDS = 2.0
"""After a break, the server is asked again after so long."""

_FIRST_SECONDS = 30.0


class ServerWatcher:
    """What is known of a study of a server. A thread listens; `look` takes what has come.

    Args:
        desk: of the server.
        name: of the study.
    """

    def __init__(self, desk: HttpDesk, name: str) -> None:
        self._desk = desk
        self._name = name
        self._lock = Lock()
        self._heard = Event()
        self._is_closed = Event()
        self._newest: State | None = None
        self._break = ""
        self._error: CifarTuneError | None = None
        self._submission: Submission | None = None
        self._run = RunSeen()
        self.state: State | None = None
        self.trouble = ""
        Thread(target=self._listen, name="listening", daemon=True).start()

    def look(self) -> float:
        """Take what has come; while nobody runs the study, ask how its submission stands.

        Raises:
            UnknownStudyError: there is no such study.
            CheckError: it was deleted meanwhile.
        """
        if not self._heard.wait(_FIRST_SECONDS):
            self.trouble = f"{self._desk.server} has not answered yet"
            return 0.0
        with self._lock:
            if self._error is not None:
                raise self._error
            self.state, self.trouble = self._newest, self._break
        owner = None if self.state is None else self.state["status"]["owner"]
        if not self.trouble and owner is None:
            self._submission = self._asked()
            self.trouble = "" if self._submission is None else _words(self._submission, self.state is None)
        self._run.look(owner)
        return 0.0

    @property
    def is_over(self) -> bool:
        """Whether the study has ended: its submission has, its budget is used up, or the run that was seen is gone."""
        is_running = self.state is not None and self.state["status"]["owner"] is not None
        if self._break or is_running or not self._heard.is_set():
            return False
        if self._submission is not None:
            return not self._submission.is_living
        return self.state is not None and (is_over(self.state) or self._run.is_gone)

    def close(self) -> None:
        """Listen no more."""
        self._is_closed.set()

    def _asked(self) -> Submission | None:
        """The study's submission; None of one that `cifar-tune run` has made."""
        try:
            return self._desk.submission(self._name)
        except UnknownStudyError:
            if self.state is None:
                raise
            return None
        except AwayError:  # the listener will say so
            return self._submission

    def _listen(self) -> None:
        while not self._is_closed.is_set():
            try:
                for told in self._desk.watch(self._name):
                    self._take(None if isinstance(told, Submission) else told, "")  # it waits for its first run
                self._take(self._newest, f"{self._desk.server} has ended the stream; trying again")
            except UnknownStudyError:
                if self._newest is not None:
                    words = f"the study {self._name!r} was deleted or renamed while it was watched"
                    self._fail(CheckError(words))
                self._take(None, "")  # there is none, which whoever looks is told
            except AwayError as error:
                self._take(self._newest, f"{error}; trying again")
            except CifarTuneError as error:
                self._fail(error)
            self._is_closed.wait(AGAIN_SECONDS)

    def _take(self, state: State | None, trouble: str) -> None:
        with self._lock:
            self._newest, self._break = state, trouble
        self._heard.set()

    def _fail(self, error: CifarTuneError) -> None:
        with self._lock:
            self._error = error
        self._is_closed.set()
        self._heard.set()


def _words(submission: Submission, is_new: bool) -> str:
    """Why nobody runs a submitted study at this moment."""
    if is_new:
        return f"{submission.study} {not_begun(submission)}"
    why = submission.waits if submission.is_living else submission.message
    return f"submission {submission.id}: {state_words(submission)}{f' ({why})' if why else ''}"
