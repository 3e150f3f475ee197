"""What a source declares, what it reads (`Request`) and what it makes (`Reading`).

A source is a folder with one `SOURCE = Source(...)` in its `__init__.py`; `sources.catalog.load_sources()` finds it.
Routes, topics, agents, docs and tests are derived from the declaration: adding a source edits no existing file.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any

import msgspec

from schemas.records import NAN

NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Request(msgspec.Struct, kw_only=True):
    """One accepted request: what the edge sees, and what the normalizer reads back from the raw topic.

    At the edge `headers` holds every header; in the raw topic only the ones the source captures, never a secret.
    Header names are lower-case. `device_id` is set when the credential belongs to one device.
    """

    body: bytes = b""
    method: str = "POST"
    path: str = ""
    path_params: Mapping[str, str] = NOTHING
    query: Mapping[str, str] = NOTHING
    headers: Mapping[str, str] = NOTHING
    content_type: str = ""
    transport: str = "http"
    received_us: int = 0
    record_id: str = ""
    tenant_id: str = ""
    credential_id: str = ""
    device_id: str = ""
    topic: str = ""
    partition: int = -1
    offset: int = -1

    def header(self, name: str) -> str:
        """Return a header's value, or nothing."""
        return self.headers.get(name, "")


class Identity(msgspec.Struct, frozen=True, gc=False):
    """One way to find the device in the registry: `kind` names the attribute (`dev_eui`, `imei`, `external_id`, ...)."""

    kind: str
    value: str


class Reading(msgspec.Struct, kw_only=True):
    """One record as a source understood it. `sources.engine` turns it into the canonical record.

    Units are in the names; absent is NaN, 0 for times (µs), -1 for `satellites` and `fix_valid`, empty text otherwise.
    `natural_key` and `content` decide the record id, see `sources.engine.record_id`.
    """

    type: str
    source_device: str = ""
    identities: tuple[Identity, ...] = ()
    child: str = ""
    """Id of a device behind the identified gateway: its id, its external id or its name."""
    gateway: str = ""
    sent_us: int = 0
    platform_us: int = 0
    latitude: float = NAN
    longitude: float = NAN
    altitude_m: float = NAN
    speed_kmh: float = NAN
    course_deg: float = NAN
    accuracy_m: float = NAN
    hdop: float = NAN
    pdop: float = NAN
    satellites: int = -1
    fix_us: int = 0
    fix_valid: int = -1
    numbers: dict[str, float] = msgspec.field(default_factory=dict)
    booleans: dict[str, bool] = msgspec.field(default_factory=dict)
    texts: dict[str, str] = msgspec.field(default_factory=dict)
    event_type: str = ""
    event_attributes: dict[str, Any] | None = None
    natural_key: str = ""
    """The sender's own unique key of this message, when it has one (an event id, a deduplication id, SerNo+SeqNo)."""
    content: Any = None
    """What the id is computed from, as JSON-able data; None means the whole item. Leave out what differs between
    two deliveries of the same message."""


class OnFailure(Enum):
    """What the sender does when it does not get its 200: decides who is shed first when Kafka is away."""

    RESENDS = "resends"
    DROPS = "drops"

    @property
    def consequence(self) -> str:
        """Say what the sender does, for people."""
        if self is OnFailure.RESENDS:
            return "keeps its data and comes again"
        return "never sends it again: spooled while Kafka is away"


Extractor = Callable[[Request], str]
"""Takes the presented secret out of a request; empty text when it presents none."""


def _no_check(_: Request) -> None:
    """Accept every body: platform senders get 200 and their unreadable bodies are quarantined."""


def _as_it_is(body: bytes) -> bytes:
    """Keep the body exactly as accepted."""
    return body


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the rest of the system knows about a sender.

    `split` turns a body into items and `read` one item into readings; both are pure, and raise `Unreadable`. An
    exception in `read` costs that item only. `check` runs at the edge before anything is stored and may raise
    `Refused`; it is for interactive clients, never for platforms that would repeat the body for days.
    """

    name: str
    """Equals the folder: also the raw topic, the route and the test ids."""
    title: str
    on_failure: OnFailure
    split: Callable[[Request], Sequence[Any]]
    read: Callable[[Any, Request], Iterable[Reading]]
    version: str
    """Raise it whenever the same bytes give another record; stored as `<name>/<version>` in every record."""
    credentials: tuple[Extractor, ...]
    """Where the secret may stand, in order; the first that presents one decides."""
    ordering_key: Callable[[Request], str]
    """Records with the same key stay in order. Empty: the credential's device, else the credential."""
    check: Callable[[Request], None] = _no_check
    seal: Callable[[bytes], bytes] = _as_it_is
    """Replaces secrets inside a body by their digests before it is stored; the identity for bodies that hold none."""
    methods: tuple[str, ...] = ("POST",)
    paths: tuple[str, ...] = ()
    """Routes besides `/in/<name>` and `/in/<name>/{<path_part>}`, as Starlette templates."""
    mqtt_topics: tuple[str, ...] = ()
    """MQTT topics, as `paths` are written: at most one `{part}`, a whole level. The user name is presented as a bearer token;
    a part among `secret_path_parts` is a token too, and must belong to the connection's device or to one behind it."""
    websocket: bool = False
    """Served on the WebSocket port too: the auth frame's token is presented as a bearer token, a frame's `data` is a body."""
    path_part: str = ""
    """Name of the optional last part of `/in/<name>/…`, e.g. `serial`."""
    secret_path_parts: tuple[str, ...] = ()
    """Parts of `paths` that are secrets: they never enter a topic or a log."""
    secret_query: tuple[str, ...] = ()
    captured_headers: tuple[str, ...] = ()
    tenant_query: str = ""
    """Query parameter that must name the credential's tenant, e.g. `tenantId`."""
    tenant_secret: bool = False
    """The tenant's integration secret opens this source too."""
    largest_batch: int = 0
    """Items one body may hold, more are refused as a whole; 0: as many as fit into a body."""
    type_key: str = ""
    """Key of an item that names its record type, e.g. `@t`; empty: the reading's own type."""
    setup: tuple[tuple[str, str], ...] = ()
    """What to enter at the sender, as (where, value); `{url}`, `{secret}` and `{tenant}` stand for ours."""
    pull: str = ""
    """Module of the connector that fetches from the sender's platform, see `sources.pulling.Connector`; imported only by
    `fleetline serve <name>-pull`, which exists when this is set."""
    links: tuple[str, ...] = ()
    """Where the vendor documents what is read here."""

    version_tag: str = ""
    """What records carry as `normalizer_version`: always `<name>/<version>`."""

    def __post_init__(self) -> None:
        """Make the tag once; every record carries it."""
        msgspec.structs.force_setattr(self, "version_tag", f"{self.name}/{self.version}")
