"""The service of `tests.web`, as a client finds it."""

from tests.web.conftest import admin, app, app_of, client_of, editor, nobody, storage, template, url, viewer

__all__ = ["admin", "app", "app_of", "client_of", "editor", "nobody", "storage", "template", "url", "viewer"]
