"""The topic contract: names, keys and the headers of a raw record.

Names carry a prefix (default `fleetline.`). `raw(source)` exists once per source; the others once.
"""

from dataclasses import dataclass

DEFAULT_PREFIX = "fleetline."

RETRY_TIERS = ("10s", "1m", "5m", "30m", "2h", "6h")
"""One topic per fixed delay, so that each is in order of its due times."""

RECORD_ID = "record-id"
RECEIVED_US = "received-us"
TENANT = "tenant"
CREDENTIAL = "credential"
DEVICE = "device"
TRANSPORT = "transport"
METHOD = "method"
PATH = "path"
QUERY = "query"
CONTENT_TYPE = "content-type"
ORIGINAL_ENCODING = "content-encoding"
TRACEPARENT = "traceparent"
CAPTURED = "header."
"""Prefix of a header captured from the sender, e.g. `header.x-powtxn`."""
PATH_PART = "path."
"""Prefix of a named part of the path, e.g. `path.serial`. Secret parts are never among them."""

QUARANTINE_REASON = "quarantine-reason"
QUARANTINE_DETAIL = "quarantine-detail"
QUARANTINE_STAGE = "quarantine-stage"
QUARANTINE_INDEX = "quarantine-index"
QUARANTINE_SOURCE = "quarantine-source"
ORIGIN_TOPIC = "origin-topic"
ORIGIN_PARTITION = "origin-partition"
ORIGIN_OFFSET = "origin-offset"

SENDER = "sender"
"""Of `unmapped`: who the record is from and what to look for its device by, see `processors.sender`."""
RELEASED_TO = "released-to"
"""Of `unmapped`: the record at `released-offset` of this partition has gone to telemetry, as this device's."""
RELEASED_OFFSET = "released-offset"


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic name under one prefix."""

    prefix: str = DEFAULT_PREFIX

    def raw(self, source: str) -> str:
        """Bodies of one source as accepted; key: the sender's ordering key."""
        return f"{self.prefix}raw.{source}"

    @property
    def telemetry(self) -> str:
        """Canonical records; key: device id."""
        return f"{self.prefix}telemetry"

    @property
    def events(self) -> str:
        """Canonical events; key: device id."""
        return f"{self.prefix}events"

    @property
    def deliveries(self) -> str:
        """Delivery tasks; key: destination id."""
        return f"{self.prefix}deliveries"

    def deliveries_retry(self, tier: str) -> str:
        """Delivery tasks that wait `tier` before the next attempt."""
        return f"{self.prefix}deliveries.retry.{tier}"

    @property
    def deliveries_dead(self) -> str:
        """Delivery tasks that were given up; key: destination id."""
        return f"{self.prefix}deliveries.dead"

    @property
    def delivery_attempts(self) -> str:
        """One record per attempt; key: destination id. What the `deliveries` table is made of."""
        return f"{self.prefix}deliveries.attempts"

    @property
    def quarantine(self) -> str:
        """Original bytes that could not be read, original headers, and why; key: source."""
        return f"{self.prefix}quarantine"

    @property
    def unmapped(self) -> str:
        """Canonical records of unknown devices, and which of them were released since; key: the sender's device id."""
        return f"{self.prefix}unmapped"

    @property
    def receipts(self) -> str:
        """The ledger: what each stage did with each record; key: record id."""
        return f"{self.prefix}receipts"

    @property
    def pulls(self) -> str:
        """Compacted: how far each pull connector has come; key: `source/credential id`."""
        return f"{self.prefix}pulls"

    @property
    def registry(self) -> str:
        """Compacted: one versioned registry object per key `kind/id`."""
        return f"{self.prefix}registry"

    @property
    def audit(self) -> str:
        """Every change of the registry: who, when, before and after; in one order, kept for ever. Key: `kind/id`."""
        return f"{self.prefix}audit"
