"""Which processes a run consists of, as Linux tells."""

from contextlib import suppress
from pathlib import Path


def executors_of(coordinator: int) -> list[int]:
    """Process numbers of its executors: what the fork server among its children has forked; none if it is gone."""
    servers = [child for child in _children(coordinator) if "forkserver" in _command(child)]
    return [executor for server in servers for executor in _children(server)]


def _children(pid: int) -> list[int]:
    """Linux lists a child under the thread that started it, which need not be the first one."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""
