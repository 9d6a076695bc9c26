"""Knowing that the kernel killed a process because memory ran out: it counts these kills, and tells nobody else.

One kill explains one death. What remains in doubt: where the count is that of the whole machine, or of a group that
others share, and another process was killed for memory within the seconds in which somebody sent ours a SIGKILL.
"""

import time
from pathlib import Path

_RECENT_SECONDS = 5.0
"""The kernel counts a kill before the process dies, and giving back a lot of memory takes it a while."""
_LOOK_SECONDS = 0.5
_COUNTER = "oom_kill"


class OomKills:
    """Watches the kernel's count for this process's control group; call `look_if_due` again and again.

    Linux counts per control group (`memory.events` of version 2, `memory.oom_control` of version 1), else for the whole
    machine (`/proc/vmstat`). Elsewhere nothing is counted, and nothing is ever recent.
    """

    def __init__(self) -> None:
        self._file = _counting_file()
        self._seen = self._count()
        self._looked = time.monotonic()
        self._unexplained: list[float] = []  # when each kill was noticed

    def look_if_due(self) -> None:
        """Look, unless that was done a moment ago: the kernel takes a tenth of a millisecond to count."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self.look()

    def look(self) -> None:
        """Notice how often the count has risen since the last look."""
        count = self._count()
        self._unexplained += [time.monotonic()] * (count - self._seen)
        self._seen = count
        self._looked = time.monotonic()

    def explains_a_death(self) -> bool:
        """Whether a process that was killed just now was killed by the kernel: for each kill that counts true once."""
        self.look()
        now = time.monotonic()
        self._unexplained = [noticed for noticed in self._unexplained if now - noticed < _RECENT_SECONDS]
        if not self._unexplained:
            return False
        self._unexplained.pop()
        return True

    def _count(self) -> int:
        return _read_count(self._file) or 0 if self._file is not None else 0


def _counting_file() -> Path | None:
    candidates = [*_control_group_files(), Path("/proc/vmstat")]
    return next((file for file in candidates if _read_count(file) is not None), None)


def _control_group_files() -> list[Path]:
    """Where the group's own count may stand: in a container, its own group is the root of what it sees."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    files = []
    root = Path("/sys/fs/cgroup")
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            files += [root / group.strip("/") / "memory.events", root / "memory.events"]
        elif "memory" in controllers.split(","):
            own = root / "memory" / group.strip("/") / "memory.oom_control"
            files += [own, root / "memory" / "memory.oom_control"]
    return files


def _read_count(file: Path) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    counts = [line.split() for line in lines]
    return next((int(count[1]) for count in counts if len(count) == 2 and count[0] == _COUNTER), None)
