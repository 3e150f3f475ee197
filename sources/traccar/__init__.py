"""Position and event forwarding of any Traccar server: JSON by POST, or placeholders in a URL by GET."""

from sources.contract import OnFailure, Source
from sources.credentials import authorization, basic_password, header, query
from sources.traccar.normalize import SECRET_QUERY, ordering_key, read, split

SOURCE = Source(
    name="traccar",
    title="Traccar server (position and event forwarding)",
    on_failure=OnFailure.DROPS,
    split=split,
    read=read,
    version="2",
    credentials=(authorization("bearer", "token"), header("x-api-key"), basic_password, query(SECRET_QUERY)),
    ordering_key=ordering_key,
    methods=("POST", "GET"),
    secret_query=(SECRET_QUERY,),
    setup=(
        *((f"traccar.xml: {kind}.type", "json") for kind in ("forward", "event.forward")),
        *((f"traccar.xml: {kind}.url", "{url}") for kind in ("forward", "event.forward")),
        *((f"traccar.xml: {kind}.header", "Authorization: Bearer {secret}") for kind in ("forward", "event.forward")),
    ),
    links=(
        "https://www.traccar.org/forward",
        "https://www.traccar.org/osmand/",
        "https://www.traccar.org/traccar-api/",
    ),
)
