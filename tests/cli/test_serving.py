"""The server's process: how it uses memory."""

import platform
import subprocess
import sys

import pytest

from tests.waiting import PATIENCE

PROGRAM = """
import ctypes, os, sys
from threading import Barrier, Thread
from cifar_tune.memory import share_heaps

if os.fork():  # each in a process of its own, which has had one thread so far
    os.wait()
    print("----", flush=True)
else:
    share_heaps()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
together = Barrier(8)

def work():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p(out := libc.fdopen(1, b"w")))
libc.fflush(ctypes.c_void_p(out))
"""


ENDING = """
import time
from cifar_tune.cli.serving import leave
from cifar_tune.reports.beside import Beside

Beside(1).get("study", 1, lambda: time.sleep(100_000))
print("closed")
leave()
"""


def test_what_is_still_made_when_the_server_has_closed_is_not_waited_for() -> None:
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "closed\n")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_threads_of_a_server_share_two_heaps() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    shared, by_default = (part.count("<heap nr=") for part in done.stdout.split("----\n"))
    assert shared == 2, done.stdout
    assert by_default > 2, done.stdout
