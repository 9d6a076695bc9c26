"""A process that is killed while it enqueues trials."""

from typing import Any

import optuna
import pytest


def die_while_enqueuing(monkeypatch: pytest.MonkeyPatch, enqueued: int) -> None:
    """Let the process die before the next trial once so many are enqueued; `monkeypatch.undo` ends that."""
    whole = optuna.Study.enqueue_trial
    done: list[Any] = []

    def enqueue(study: optuna.Study, params: dict[str, Any], user_attrs: dict[str, Any] | None = None) -> None:
        if len(done) == enqueued:
            raise KeyboardInterrupt
        done.append(params)
        whole(study, params, user_attrs)

    monkeypatch.setattr(optuna.Study, "enqueue_trial", enqueue)
