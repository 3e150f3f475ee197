"""Changing the registry: for the command line, the admin API and auto-registration. Others follow (`registry.follower`)."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from registry.audit import audit_records
from registry.draft import Change, Draft
from registry.errors import RegistryUnavailable
from registry.followed import FollowedReader
from registry.model import DEV_EUI, EXTERNAL_ID, Credential, Destination, Device, Entry, Tenant
from registry.rules import access, devices, places, tenants
from registry.sealing import seal
from registry.topic import Rewound, TopicReader
from registry.view import RegistryView
from registry.writer import Fenced, Message, RegistryWriter, Undecided
from schemas.times import now_us

if TYPE_CHECKING:
    from fleetline.settings import Settings
    from registry.follower import RegistryFollower

T = TypeVar("T")

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
READ_S = 120.0
"""For the whole topic; a million devices take about ten seconds."""
_TRIES = 20
BATCH = 5_000
"""Changes in one transaction of `put` and `delete`."""


class RegistryStore:
    """Reads the whole topic, checks a change against it, writes it with its audit trail, and returns once it is durable.

    Guarantee: a change is checked against everything that was committed before it, by whoever; it is written as a whole or not at
    all. Everything raises RegistryUnavailable when the broker cannot be reached, or RegistryRefused when a rule is broken. After
    RegistryUnavailable the change may have been stored all the same: look before repeating it.

    `actor` is who the audit trail names. With a `follower` that has caught up, changes are checked against its view: a
    process that follows the registry anyway keeps it in memory once. Safe for several threads; one change is made at a time.
    """

    def __init__(
        self, settings: "Settings", actor: str = "unknown", follower: "RegistryFollower | None" = None
    ) -> None:
        self._settings = settings
        self._actor = actor
        self._follower = follower
        self._topic = settings.topics.registry
        self._view = RegistryView()
        self._reader: TopicReader | None = None
        self._topic_exists = False
        self._topics_made = False
        self._writer = RegistryWriter(settings)
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the broker."""
        with self._lock:
            self._writer.close()
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    @property
    def view(self) -> RegistryView:
        """What was in the topic when it was last read; read on first use, then by every change and `refresh`."""
        if self._reader is None:
            self.refresh()
        return self._view

    def refresh(self) -> RegistryView:
        """Read the topic to its present end."""
        from confluent_kafka import KafkaError, KafkaException

        with self._lock:
            try:
                try:
                    self._read()
                except Rewound:
                    self._reopen()
                    self._read()
                except KafkaException as error:
                    if error.args[0].code() != KafkaError._DESTROY:  # noqa: SLF001  the client's public name for it
                        raise
                    self._read()  # the client let go of an idle connection while it was to be asked over it
            except Rewound as error:
                self._reopen()
                raise self._unavailable(str(error)) from error
            except KafkaException as error:
                if error.args[0].fatal():  # anything else passes, and what was read stays
                    self._reopen()
                raise self._unavailable(_said(error)) from error
            return self._view

    def change(self, plan: Callable[[Draft], T], actor: str = "") -> T:
        """Run `plan` on a draft of the registry as it stands and commit what it put there; returns what the plan returned.

        The plan may be run several times, each time on a newer registry, and must do nothing but read and write the draft.
        What it raises comes out, and then nothing is written.
        """
        from confluent_kafka import KafkaException

        with self._lock:
            self._ensure_topics()
            tried: tuple[Draft, T] | None = None
            for _ in range(_TRIES):
                try:
                    self._writer.prepare()
                    view = self.refresh()
                    if tried is not None and _is_made(tried[0], view):
                        return tried[1]
                    draft = Draft(view)
                    tried = draft, plan(draft)
                    self._commit(draft, actor or self._actor)
                except (Fenced, Undecided) as error:
                    log.info("a change of the registry is tried again: %s", error)
                    continue
                except KafkaException as error:
                    doubt = "; look whether the change was made before repeating it" if tried is not None else ""
                    raise self._unavailable(_said(error) + doubt) from error
                return tried[1]
            raise self._unavailable("others write to the registry all the time; try again")

    def _commit(self, draft: Draft, actor: str) -> None:
        changes = draft.changes
        if not changes:
            return
        messages: list[Message] = []
        for change in changes:
            value = None if change.after is None else msgspec.json.encode(change.after)
            messages.append((self._topic, change.key.encode(), value))
        for record in audit_records(changes, actor, now_us()):
            key = f"{record.kind}/{record.object_id}".encode()
            messages.append((self._settings.topics.audit, key, msgspec.json.encode(record)))
        self._read_past(self._writer.commit(messages)[self._topic])

    def _read_past(self, offset: int) -> None:
        """Wait until the view shows what was written: readers see a transaction some milliseconds after its commit."""
        deadline = time.monotonic() + TIMEOUT_S
        reader = self._reader
        assert reader is not None
        try:
            while reader.position <= offset:
                if time.monotonic() > deadline:
                    raise self._unavailable("the change is stored, but does not appear in the topic")
                reader.step(0.05)
        except Rewound:
            self._reopen()

    def _reopen(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read(self) -> None:
        if self._reader is None:
            self._topic_exists = False
            if self._follower is None:
                self._view = RegistryView()
                self._reader = TopicReader(self._settings, self._view)
            else:
                self._view = self._follower.view
                self._reader = FollowedReader(self._settings, self._follower)
        if not self._topic_exists:
            self._topic_exists = self._reader.open(TIMEOUT_S)
        if self._topic_exists and not self._reader.read_to_end(READ_S):
            raise self._unavailable(self._reader.broker_error or "the registry could not be read to its end")

    def put(self, entries: Entry | Iterable[Entry]) -> None:
        """Store entries past the rules; returns once each is durable. Storing one again changes nothing."""
        many = (entries,) if isinstance(entries, msgspec.Struct) else tuple(entries)
        for start in range(0, len(many), BATCH):
            self.change(lambda draft, start=start: [draft.put(each) for each in many[start : start + BATCH]])  # type: ignore[misc]

    def delete(self, entries: Entry | Iterable[Entry]) -> None:
        """Remove entries past the rules; returns once each removal is durable."""
        many = (entries,) if isinstance(entries, msgspec.Struct) else tuple(entries)
        for start in range(0, len(many), BATCH):
            self.change(lambda draft, start=start: [draft.remove(each) for each in many[start : start + BATCH]])  # type: ignore[misc]

    def _ensure_topics(self) -> None:
        """Make the topics where nobody has: the registry works before any other component has run."""
        if self._reader is None:
            self.refresh()
        if self._topics_made and self._topic_exists:
            return
        from fleetline.errors import FleetlineError
        from fleetline.kafka_admin import ensure_topics

        try:
            ensure_topics(self._settings, TIMEOUT_S, only=(self._topic, self._settings.topics.audit))
        except FleetlineError as error:
            raise self._unavailable(str(error)) from error
        self._topics_made = True
        deadline = time.monotonic() + TIMEOUT_S
        while not self._topic_exists:  # metadata follows a topic's creation by some milliseconds
            if time.monotonic() > deadline:
                raise self._unavailable(f"the topic {self._topic} was made but does not appear")
            self.refresh()

    def _unavailable(self, detail: str) -> RegistryUnavailable:
        servers = self._settings.kafka_bootstrap_servers
        return RegistryUnavailable(
            f"the registry cannot be reached at {servers} ({detail}). Is the stack running? Start it with `fleetline up`, "
            "name its folder with --data, or set KAFKA_BOOTSTRAP_SERVERS"
        )

    # --- what people ask for most ------------------------------------------------------------------------------------

    def create_tenant(self, name: str, id: str | None = None) -> Tenant:  # noqa: A002  called `id` in the entry too
        """Create a tenant."""
        return self.change(lambda draft: tenants.create_tenant(draft, name, id))

    def create_device(
        self,
        tenant: str | Tenant,
        name: str,
        *,
        external_id: str | None = None,
        dev_eui: str | None = None,
        gateway: bool = False,
        parent: str | Device | None = None,
        id: str | None = None,  # noqa: A002
        **attributes: str | None,
    ) -> Device:
        """Create a device; `tenant` and `parent` by id or name, `attributes` are `imei`, `serial` and the like.

        See `registry.rules.devices.create_device` for what is refused.
        """
        given = {EXTERNAL_ID: external_id, DEV_EUI: dev_eui, **attributes}
        kept = {key: value for key, value in given.items() if value is not None}

        def plan(draft: Draft) -> Device:
            owner = tenants.find_tenant(draft, tenant)
            return devices.create_device(draft, owner, name, kept, gateway=gateway, parent=parent, wanted_id=id)

        return self.change(plan)

    def create_credential(
        self, tenant: str | Tenant, source: str, device: str | Device | None = None
    ) -> tuple[Credential, str]:
        """Create a credential and return it with its secret, which is not stored and cannot be shown again."""

        def plan(draft: Draft) -> tuple[Credential, str]:
            owner = tenants.find_tenant(draft, tenant)
            bound = None if device is None else devices.find_device(draft, owner, device)
            return access.create_credential(draft, owner, source, bound)

        return self.change(plan)

    def rotate_tenant_secret(self, tenant: str | Tenant, overlap_s: float = access.OVERLAP_S) -> str:
        """Give a tenant a new webhook secret and return it. The former one opens for `overlap_s` more seconds."""

        def plan(draft: Draft) -> str:
            owner = tenants.find_tenant(draft, tenant)
            return access.rotate_integration_secret(draft, owner, overlap_s=overlap_s)[1]

        return self.change(plan)

    def create_destination(
        self, tenant: str | Tenant, kind: str, url: str, types: Sequence[str] = (), psk: str = ""
    ) -> Destination:
        """Create a destination; `types` empty means every event. The PSK is sealed before it is stored."""
        places.check_psk(psk)
        sealed = seal(self._settings, psk)
        return self.change(
            lambda draft: places.create_destination(draft, tenants.find_tenant(draft, tenant), kind, url, types, sealed)
        )


def _is_made(draft: Draft, view: RegistryView) -> bool:
    """Tell whether the registry is what a commit of the draft makes of it: one whose answer was lost is not made twice."""

    def stands(change: Change) -> bool:
        entry = change.after or change.before
        return entry is not None and view.get(type(entry), entry.id) == change.after

    return bool(draft.changes) and all(map(stands, draft.changes))


def _said(error: Exception) -> str:
    """Return what Kafka's client said, without the numbers around it."""
    from confluent_kafka import KafkaError

    first: Any = error.args[0] if error.args else error
    return str(first.str() if isinstance(first, KafkaError) else first)
