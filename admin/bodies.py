"""How much of a body is read, and how long it is waited for."""

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

SILENCE_S = 30.0
"""How long a client may send nothing in the middle of a body."""


def bounded(request: Request, most: int) -> Request:
    """Return the request with a body that ends in a 413 beyond `most` bytes, at once if its length is told.

    It ends in a 408 when it stops coming.
    """
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > most:
        raise HTTPException(413)
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        try:
            with anyio.fail_after(SILENCE_S):
                message = await request.receive()
        except TimeoutError:
            raise HTTPException(408) from None
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413)
        return message

    return Request(request.scope, receive)
