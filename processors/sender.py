"""Who an unknown record is from, as the header `sender` of `unmapped` says it: all it takes to look for the device again.

Records with the same header are one sender's: they wait together and are released together, in their order.
"""

import json
from typing import Self

import msgspec

from registry.view import Identified, RegistryView
from schemas.records import Telemetry
from sources.contract import Identity
from sources.engine import Canonical

_FIELDS = 6


class Sender(msgspec.Struct, frozen=True):
    """The arguments of `RegistryView.identify`, and the source and its id of the device for people to read.

    A token is among the identities by its digest only.
    """

    tenant_id: str
    source: str
    source_device: str
    credential_device_id: str
    child: str
    identities: tuple[Identity, ...]

    @classmethod
    def of(cls, made: Canonical, credential_device_id: str) -> Self:
        """Return the sender of a record as its normalizer made it."""
        record: Telemetry = made.record
        return cls(
            record["tenant_id"],
            record["source"],
            record["source_device"],
            credential_device_id,
            made.child,
            made.identities,
        )

    def identify(self, view: RegistryView) -> Identified:
        """Look for the device."""
        return view.identify(self.tenant_id, self.credential_device_id, self.identities, self.child)

    def header(self) -> bytes:
        """Return what `parse_sender` reads."""
        fields = (
            self.tenant_id,
            self.source,
            self.source_device,
            self.credential_device_id,
            self.child,
            [(each.kind, each.value) for each in self.identities],
        )
        return json.dumps(fields, separators=(",", ":")).encode()  # the standard one: it takes lone surrogates as well

    def key(self) -> bytes:
        """Return what keeps the records in one partition. Never empty: an empty key would be spread at random."""
        named = self.identities[0].value if self.identities else self.child
        return (self.source_device or self.credential_device_id or named or "-").encode("utf-8", "replace")


def parse_sender(header: bytes) -> Sender:
    """Read what `Sender.header` wrote. Raises ValueError on foreign bytes."""
    fields = json.loads(header)
    if not isinstance(fields, list) or len(fields) != _FIELDS or not all(isinstance(each, str) for each in fields[:-1]):
        raise ValueError(f"not a sender: {header[:100]!r}")
    try:
        identities = tuple(Identity(kind, value) for kind, value in fields[-1])
    except TypeError as error:
        raise ValueError(f"not a sender: {header[:100]!r}") from error
    tenant, source, device, credential_device, child = fields[:-1]
    return Sender(tenant, source, device, credential_device, child, identities)
