"""How much of a body is read."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message


def bounded(request: Request, most: int) -> Request:
    """Return the request with a body that ends in a 413 beyond `most` bytes; at once if its length is told."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > most:
        raise HTTPException(413)
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413)
        return message

    return Request(request.scope, receive)
