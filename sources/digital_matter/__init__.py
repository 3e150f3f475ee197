"""Digital Matter's HTTP connector: one device and its records per POST, deleted on the device after a 200."""

from sources.contract import OnFailure, Source
from sources.credentials import authorization, basic_password, header, path_param, query, whole_authorization
from sources.digital_matter.identity import CAPTURED, KEY_PART, SECRET_QUERY, SERIAL_PART, ordering_key
from sources.digital_matter.normalize import read, split

_KEY_HEADERS = ("x-api-key", "x-device-key", "x-auth-token", "x-dm-secret")
_BASES = ("/in/digital-matter", "/in/digital_matter")
_SERIAL_AND_KEY = f"{{{SERIAL_PART}}}/{{{KEY_PART}}}"

SOURCE = Source(
    name="digital_matter",
    title="Digital Matter HTTP connector",
    on_failure=OnFailure.RESENDS,
    split=split,
    read=read,
    version="2",
    # A key of one device says more than the connector's own credential beside it, so its places come first (DM-a08).
    credentials=(
        *(header(name) for name in _KEY_HEADERS),
        *(query(name) for name in SECRET_QUERY),
        path_param(KEY_PART),
        basic_password,
        authorization("bearer", "token"),
        whole_authorization,
    ),
    ordering_key=ordering_key,
    # A dynamic field that is not set leaves its part of the path empty (DM-a21): /in/digital-matter//<key>.
    paths=tuple(f"{base}{rest}" for base in _BASES for rest in ("", f"/{_SERIAL_AND_KEY}", f"//{{{KEY_PART}}}")),
    path_part=SERIAL_PART,
    secret_path_parts=(KEY_PART,),
    secret_query=SECRET_QUERY,
    captured_headers=CAPTURED,
    setup=(
        ("HTTP connector → URL", "{url}"),
        ("HTTP connector → header Authorization", "Bearer {secret}"),
    ),
    links=("https://support.digitalmatter.com/integration/the-httphttps-connector",),
)
