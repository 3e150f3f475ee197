"""flespi HTTP stream: a JSON array of flat messages; the same batch is repeated until it gets a 200."""

from sources.contract import OnFailure, Source
from sources.credentials import authorization, basic_password, header, whole_authorization
from sources.flespi.normalize import ordering_key, read, split
from sources.flespi.options import named_header

SOURCE = Source(
    name="flespi",
    title="flespi HTTP stream",
    on_failure=OnFailure.RESENDS,
    split=split,
    read=read,
    version="2",
    credentials=(
        authorization("bearer", "flespitoken", "token"),
        header("x-flespi-token"),
        whole_authorization,
        basic_password,
        named_header,
    ),
    ordering_key=ordering_key,
    setup=(
        ("Streams → + → http → URI", "{url}"),
        ("Streams → + → http → custom header Authorization", "Bearer {secret}"),
    ),
    links=(
        "https://flespi.com/kb/how-to-get-data-in-your-platform-via-flespi-http-stream",
        "https://flespi.com/kb/messages-basic-information-units",
        "https://flespi.com/protocols/http",
    ),
)
