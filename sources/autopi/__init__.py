"""AutoPi devices posting to their own "Cloud API" URL: a JSON array of typed items, deleted on the device on any 2xx."""

from sources.autopi.normalize import UNIT_HEADER, UNIT_PART, ordering_key, read, split
from sources.contract import OnFailure, Source
from sources.credentials import authorization

SOURCE = Source(
    name="autopi",
    title="AutoPi device",
    on_failure=OnFailure.RESENDS,
    split=split,
    read=read,
    version="2",
    credentials=(authorization("bearer", "token"),),
    ordering_key=ordering_key,
    path_part=UNIT_PART,
    captured_headers=(UNIT_HEADER,),
    type_key="@t",
    setup=(
        ("Advanced → Settings → Cloud API → Url", "{url}"),
        ("Advanced → Settings → Cloud API → Auth Token", "{secret}"),
    ),
    links=(
        "https://docs.autopi.io/getting_started/api/send-device-data-to-own-server",
        "https://github.com/autopi-io/autopi-core",
    ),
)
