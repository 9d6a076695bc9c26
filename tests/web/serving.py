"""A real server, on a port of its own unless one is given."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from cifar_tune.web.serving import HttpServer
from cifar_tune.web.settings import WebSettings

ANY_PORT = WebSettings(port=0)


@contextmanager
def serving(app: FastAPI, settings: WebSettings = ANY_PORT) -> Iterator[str]:
    """Yields its address."""
    server = HttpServer(app, settings)
    server.start()
    try:
        yield server.address
    finally:
        server.stop()
