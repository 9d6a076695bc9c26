"""The kernel's count of processes that it killed for memory, and which deaths it explains."""

from pathlib import Path

import pytest

from cifar_tune.executors import oom_kills
from cifar_tune.executors.oom_kills import OomKills


@pytest.fixture
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel writes; three were killed long ago."""
    file = tmp_path / "memory.events"
    file.write_text("oom 9\noom_kill 3\n")
    monkeypatch.setattr(oom_kills, "_control_group_files", lambda: [file])
    return file


def test_one_kill_explains_one_death(count: Path) -> None:
    kills = OomKills()
    assert not kills.explains_a_death()
    count.write_text("oom 10\noom_kill 4\n")
    assert kills.explains_a_death()
    assert not kills.explains_a_death(), "somebody else ended that one"
    count.write_text("oom 12\noom_kill 6\n")
    kills.look()
    assert [kills.explains_a_death() for _ in range(3)] == [True, True, False]


def test_a_kill_of_some_time_ago_explains_nothing(count: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kills = OomKills()
    count.write_text("oom 10\noom_kill 4\n")
    kills.look()
    monkeypatch.setattr(oom_kills, "_RECENT_SECONDS", 0.0)
    assert not kills.explains_a_death()
