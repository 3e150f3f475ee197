"""Digital Matter's HTTP connector: one device and its records per POST, deleted on the device after a 200."""

from sources.contract import OnFailure, Source
from sources.credentials import authorization, basic_password, header, query
from sources.digital_matter.identity import CAPTURED, SERIAL_PART, ordering_key
from sources.digital_matter.normalize import read, split

SOURCE = Source(
    name="digital_matter",
    title="Digital Matter HTTP connector",
    on_failure=OnFailure.RESENDS,
    split=split,
    read=read,
    version="1",
    credentials=(basic_password, authorization("bearer", "token"), header("x-api-key"), query("token")),
    ordering_key=ordering_key,
    paths=("/in/digital-matter", f"/in/digital-matter/{{{SERIAL_PART}}}"),
    path_part=SERIAL_PART,
    secret_query=("token",),
    captured_headers=CAPTURED,
    links=("https://support.digitalmatter.com/integration/the-httphttps-connector",),
)
