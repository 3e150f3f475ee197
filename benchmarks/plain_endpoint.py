"""The ingress's limit: an ordinary Starlette endpoint that answers 200 without doing anything, served the same way."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def nothing(_: Request) -> Response:
    """Answer 200."""
    return Response()


app = Starlette(routes=[Route("/in/flespi", nothing, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", access_log=False,
        log_level="warning", server_header=False, date_header=False, timeout_keep_alive=75, backlog=4096,
    )  # fmt: skip
