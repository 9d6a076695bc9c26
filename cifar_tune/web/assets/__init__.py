"""Style sheet, script and icon of the pages, sent as they are."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_TYPES: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "study.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""All that there is."""

_A_YEAR = "public, max-age=31536000, immutable"


@router.get("/assets/{name}")
async def asset(name: str) -> Response:
    """One of these files. Pages name each with its fingerprint, so that browsers may keep it."""
    if name not in _TYPES:
        raise HTTPException(404)
    return Response(_content(name), media_type=_TYPES[name], headers={"Cache-Control": _A_YEAR})


def fingerprint(name: str) -> str:
    """Another one for another content."""
    return sha256(_content(name)).hexdigest()[:12]


@cache
def _content(name: str) -> bytes:
    return (files("cifar_tune.web.assets") / name).read_bytes()
