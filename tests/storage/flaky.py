"""A storage that fails when told to, before a change arrives or after it."""

import threading
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage


class Flaky:
    """Passes every call on to `backend`.

    While `down`, all fail. When `answer_lost` changes have arrived, the last of them is answered by an error all the
    same; with `falls_silent`, `answers` is not set from then on. `bug` is what every call raises, once it is set. While
    `answers` is not set, all wait.
    """

    def __init__(self, backend: BaseStorage) -> None:
        self._backend = backend
        self.down = False
        self.bug: Exception | None = None
        self.answer_lost = 0
        self.falls_silent = False
        self.answers = threading.Event()
        self.answers.set()
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._backend, name)
        if not callable(method):
            return method

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls.append(name)
            self.answers.wait()
            if self.down:
                raise StorageInternalError("the server is gone")
            if self.bug is not None:
                raise self.bug
            answer = method(*arguments, **keywords)
            if self.answer_lost and name.startswith(("create", "set", "add")):
                self.answer_lost -= 1
                if self.answer_lost == 0:
                    if self.falls_silent:
                        self.answers.clear()
                    raise StorageInternalError("the answer is lost")
            return answer

        return call
