"""Answers of server-sent events: each event becomes bytes once, and these go to all who listen.

FastAPI's own way checks, copies and encodes each event for each listener.
"""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse

KEEP_ALIVE: Final = KEEPALIVE_COMMENT
"""Sent where nothing else was for a while, so that nothing on the way takes the connection for a dead one."""

_RETRY_MILLISECONDS = 2000
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second: nginx holds nothing back

STREAM_DOCUMENTED: Final[Mapping[int | str, dict[str, Any]]] = {
    HTTPStatus.OK.value: {
        "description": "Successful Response",
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "properties": {
                        "data": {"type": "string"},
                        "event": {"type": "string"},
                        "id": {"type": "string"},
                        "retry": {"type": "integer", "minimum": 0},
                    },
                }
            }
        },
    }
}
"""What the OpenAPI document says of such an answer."""


class EventStream(StreamingResponse):
    """Sends events until there are no more, or the listener leaves.

    Args:
        events: as bytes, whole ones.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, headers=_HEADERS)


def opening(comment: str) -> bytes:
    """What a stream begins with: it tells browsers when to come again after a break."""
    return format_sse_event(comment=comment, retry=_RETRY_MILLISECONDS)


def event_bytes(number: str, kind: str, text: str) -> bytes:
    """One event.

    Args:
        number: what `Last-Event-ID` says of it later.
        kind: of event.
        text: its data.
    """
    return format_sse_event(data_str=text, event=kind, id=number)
