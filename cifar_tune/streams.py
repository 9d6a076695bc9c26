"""stdout and stderr that never raise an error: whatever becomes of a terminal, a pipe or a disk, the work goes on.

Progress that cannot be written is dropped. Results that cannot be written are dropped too, but the program ends with
another exit code then, and a sentence where there is still somebody to read it. Everything that prints goes through
here, whichever library does it: the guard sits below Python's own streams.

What is printed may hold text of other programs, so nothing but text, tabs and line ends reaches the terminal as it is;
Rich may also use colours and move the cursor.
"""

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import IO, Any, cast

from cifar_tune.visible import visible, visible_drawing, visible_lines

READER_GONE = 141
"""Exit code where whoever read stdout has gone, as in `| head`: what a shell shows of a program that SIGPIPE ended."""

_STDIN, _STDOUT, _STDERR = 0, 1, 2


class _Guarded(io.RawIOBase):
    """Writes to a file descriptor. What cannot be written is dropped, and the first reason is kept."""

    def __init__(self, descriptor: int, name: str, is_closed: bool) -> None:
        self._descriptor = descriptor
        self._is_closed = is_closed
        self.name = name
        self.mode = "wb"
        self.error: OSError | None = None

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]
        while True:
            try:
                if self._is_closed:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another program has made the terminal that we share non-blocking
                with suppress(OSError):
                    select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = self.error or error
                return len(data)

    def is_read(self) -> bool:
        """Whether nothing was dropped so far, and nobody has closed the other end: that shows before one writes."""
        if self.error is None and not self._is_closed and hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._descriptor, 0)
            for _, event in poll.poll(0):
                if event & (select.POLLERR | select.POLLHUP):
                    number = errno.EIO if self.isatty() else errno.EPIPE
                    self.error = OSError(number, os.strerror(number))
        return self.error is None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


class _Shown(io.TextIOWrapper):
    """Text of which a terminal obeys nothing; see `cifar_tune.visible`.

    Attributes:
        rich_proxied_file: what Rich writes to where it is to write here. It asks every stream for one of this name.
    """

    def __init__(self, buffer: "io.BufferedWriter", **options: Any) -> None:
        super().__init__(buffer, **options)
        self.rich_proxied_file = _Drawn(self)

    def write(self, text: str, /) -> int:
        super().write(visible_lines(text))
        return len(text)

    def write_drawing(self, text: str) -> int:
        """Write what Rich has made."""
        super().write(visible_drawing(text))
        return len(text)


class _Drawn:
    """A stream for what Rich has made; in all else the stream below."""

    def __init__(self, stream: _Shown) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write_drawing(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def drawing_stream(stream: IO[str]) -> IO[str]:
    """What a console of Rich that we make gets as its file, so that its colours arrive there.

    Args:
        stream: `sys.stdout` or `sys.stderr`.
    """
    return cast("IO[str]", stream.rich_proxied_file) if isinstance(stream, _Shown) else stream


def guard_streams() -> None:
    """Put the guard below `sys.stdout` and `sys.stderr`.

    Where a descriptor from 0 to 2 is closed (`2>&-`), it is opened on /dev/null first: else the next file that is
    opened, such as a database, would get its number, and what a library writes to stderr would land in that file.
    """
    closed = {number for number in (_STDIN, _STDOUT, _STDERR) if not _is_open(number)}
    for number in sorted(closed):
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)
    if sys.stdin is None or _STDIN in closed:
        sys.stdin = io.TextIOWrapper(io.FileIO(_STDIN, closefd=False), encoding="utf-8")
    if _is_own(sys.stdout, _STDOUT):
        sys.stdout = _guarded(sys.stdout, _STDOUT, "<stdout>", _STDOUT in closed)
    if _is_own(sys.stderr, _STDERR):
        sys.stderr = _guarded(sys.stderr, _STDERR, "<stderr>", _STDERR in closed)


def say(line: str, err: bool = False) -> None:
    """Print a line that may hold text of others, to stdout or to stderr: it stays one line."""
    print(visible(line), file=sys.stderr if err else sys.stdout, flush=True)


def is_read() -> bool:
    """Whether stdout can still reach somebody; a command that prints for as long as anybody reads asks this."""
    guard = _guard_of(sys.stdout)
    return guard is None or guard.is_read()


def final_exit_code(code: int) -> int:
    """The exit code of a program that would end with `code`: another one if it is 0 and results could not be written.

    Where the reader has gone nothing is said, as other programs do; else a sentence on stderr says what happened.
    """
    sys.stdout.flush()
    guard = _guard_of(sys.stdout)
    error = None if guard is None else guard.error
    if error is None:
        return code
    if error.errno == errno.EPIPE:
        return code or READER_GONE
    reason = "it is closed" if error.errno == errno.EBADF else error.strerror
    sys.stderr.write(f"cifar-tune: the results could not be written to stdout: {reason}\n")
    return code or 1


def _guard_of(stream: object) -> _Guarded | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Guarded) else None


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _is_own(stream: IO[str] | None, descriptor: int) -> bool:
    """Whether it is what the program was given, and not what a caller in this process has put in its place."""
    try:
        return stream is None or stream.fileno() == descriptor
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return False


def _guarded(stream: IO[str] | None, descriptor: int, name: str, is_closed: bool) -> io.TextIOWrapper:
    """The same stream above the guard; what its encoding does not know is written as an escape."""
    raw = _Guarded(descriptor, name, is_closed)
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.flush()
    return _Shown(
        io.BufferedWriter(raw),  # type: ignore[arg-type]
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=descriptor == _STDERR or raw.isatty(),
        write_through=bool(getattr(cast(object, stream), "write_through", False)),
    )
