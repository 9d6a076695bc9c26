"""Clients of the service, as a process of their own: some ask again and again, others listen to streams.

`python benchmarks/service_clients.py` reads what to do as JSON from standard input, and answers in JSON when the time
is over. It does as little as it can with what it gets, since the cores are for training. With `"serve": true` it is
instead a server that does next to nothing: it answers everything with as many bytes as it is told, and its streams send
one event each second. Beside it one sees what the clients themselves cost.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from typing import Any


class Clients:
    """All clients of one process.

    Args:
        job: `host`, `port`, `pollers` and `listeners` (lists of path and token), `period` (seconds between two
            questions of a poller) and `seconds`.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job
        self._began = time.perf_counter()
        self._latencies: dict[str, list[tuple[float, float]]] = defaultdict(list)  # when it was asked, how long it took
        self._errors: Counter[str] = Counter()
        self._bytes: dict[str, int] = {}
        self._events = 0
        self._heard = 0
        self._is_over = False

    async def run(self) -> dict[str, Any]:
        """Ask and listen until the time is over; returns what came."""
        draw = random.Random(0)  # noqa: S311 (no secret)
        began, cpu = self._began, time.process_time()
        tasks = [
            asyncio.create_task(self._poll(path, token, draw.uniform(0, self._job["period"])))
            for path, token in self._job["pollers"]
        ]
        tasks += [asyncio.create_task(self._listen(path, token)) for path, token in self._job["listeners"]]
        await asyncio.sleep(self._job["seconds"])
        self._is_over = True
        told = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - cpu,
            "latencies": self._latencies,
            "errors": self._errors,
            "bytes": self._bytes,
            "events": self._events,
            "heard": self._heard,
        }
        for task in tasks:
            task.cancel()
        return told

    async def _poll(self, path: str, token: str, wait: float) -> None:
        """Ask, wait, ask again, on one connection as long as the server keeps it."""
        streams = None
        await asyncio.sleep(wait)
        while not self._is_over:
            began = time.perf_counter()
            try:
                if streams is None:
                    streams = await asyncio.open_connection(self._job["host"], self._job["port"])
                status, size, keeps = await self._ask(*streams, path, token)
                self._bytes[path] = size
                if status != 200:
                    self._errors[f"{path}: status {status}"] += 1
                if not keeps:
                    streams[1].close()
                    streams = None
            except (OSError, EOFError, ValueError) as error:
                self._errors[f"{path}: {type(error).__name__}"] += 1
                streams = None
            took = time.perf_counter() - began
            self._latencies[path].append((began - self._began, took))
            await asyncio.sleep(max(0.0, self._job["period"] - took))

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, token: str
    ) -> tuple[int, int, bool]:
        writer.write(self._request(path, token))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(size)
        return int(head.split(b" ", 2)[1]), size, b"connection: close" not in head

    async def _listen(self, path: str, token: str) -> None:
        try:
            reader, writer = await asyncio.open_connection(self._job["host"], self._job["port"], limit=2**20)
            writer.write(self._request(path, token))
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ValueError(head)
            while chunk := await reader.read(2**16):
                self._events += chunk.count(b"\ndata:") + chunk.startswith(b"data:")
                self._heard += len(chunk)
            raise EOFError
        except (OSError, EOFError, ValueError) as error:
            if not self._is_over:
                self._errors[f"{path}: {type(error).__name__}"] += 1

    def _request(self, path: str, token: str) -> bytes:
        host = f"{self._job['host']}:{self._job['port']}"
        return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


async def serve_nothing(job: dict[str, Any]) -> None:
    """Answer each path with so many bytes (`bytes`); paths that end in `stream` send `event` bytes each second.

    It prints its port at the beginning, and its processor seconds at the end, when its input is closed.
    """
    bodies = {path.encode(): b"x" * size for path, size in job["bytes"].items()}
    event = b"id: 1\nevent: study\ndata: " + b"x" * job["event"] + b"\n\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
                if path.endswith(b"stream"):
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    while not writer.is_closing():
                        writer.write(event)
                        await writer.drain()
                        await asyncio.sleep(1.0)
                    return
                body = bodies.get(path, b"")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    cpu = time.process_time()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps({"cpu": time.process_time() - cpu}), flush=True)
    os._exit(0)  # streams are open


if __name__ == "__main__":
    with suppress(OSError):  # clients on other machines do not wait for these cores; only root may say so
        os.setpriority(os.PRIO_PROCESS, 0, -5)
    given = json.loads(sys.stdin.readline())
    if given.get("serve"):
        asyncio.run(serve_nothing(given))
    else:
        print(json.dumps(asyncio.run(Clients(given).run())))
