"""A fleet behind the ingress: devices, a gateway with a child, another tenant; and what becomes of what was stored."""

from types import SimpleNamespace
from typing import Any, cast

from fleetline.settings import Settings
from processors.limits import DefectLimits
from processors.normalize import Normalizer
from processors.output import Output
from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Credential, Device, Tenant, integration_id
from registry.secrets import digest
from schemas.records import Telemetry, telemetry_reader
from sources.catalog import load_sources
from tests.ingress.loopback import TENANT, Ingress

OTHER = "tenant-b"
DEVICE, GATEWAY, CHILD, FOREIGN_GATEWAY, FOREIGN_CHILD = (
    "device",
    "gateway",
    "child",
    "foreign-gateway",
    "foreign-child",
)
DEVICE_TOKEN, GATEWAY_TOKEN = "token-of-the-device", "token-of-the-gateway"
SECRET, OTHER_SECRET = "secret-of-tenant-a", "secret-of-tenant-b"
EUI = "0102030405060708"


class Fleet(Ingress):
    """Two tenants; tenant A has a device, a gateway with a child, and a gateway with a child of its own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add(Tenant(id=OTHER, name="B"))
        for device in (
            Device(id=DEVICE, tenant_id=TENANT, name="Device", attributes={EXTERNAL_ID: "silo-3", DEV_EUI: EUI}),
            Device(id=GATEWAY, tenant_id=TENANT, name="Gateway", gateway=True),
            Device(id=CHILD, tenant_id=TENANT, name="Child", parent_id=GATEWAY, attributes={EXTERNAL_ID: "c-1"}),
            Device(id=FOREIGN_GATEWAY, tenant_id=TENANT, name="Foreign gateway", gateway=True),
            Device(id=FOREIGN_CHILD, tenant_id=TENANT, name="Foreign child", parent_id=FOREIGN_GATEWAY),
            Device(id="theirs", tenant_id=OTHER, name="Theirs", attributes={EXTERNAL_ID: "silo-9"}),
        ):
            self.add(device)
        for name, source, secret, device_id, tenant in (
            ("c-1", "device", DEVICE_TOKEN, DEVICE, TENANT),
            ("c-2", "device", GATEWAY_TOKEN, GATEWAY, TENANT),
            (integration_id(TENANT), INTEGRATION, SECRET, "", TENANT),
            (integration_id(OTHER), INTEGRATION, OTHER_SECRET, "", OTHER),
        ):
            self.add(Credential(id=name, tenant_id=tenant, source=source, digest=digest(secret), device_id=device_id))

    def outcome(self) -> dict[str, list[Any]]:
        """Normalize and identify everything stored; return records by topic, and the reasons of what was quarantined."""
        produced: dict[str, list[Any]] = {"telemetry": [], "unmapped": [], "events": [], "quarantine": []}
        topics, read = Settings().topics, telemetry_reader()

        def produce(topic: str, key: bytes, value: bytes, headers: Any = None) -> None:
            name = topic.removeprefix(topics.prefix)
            if name == "quarantine":
                produced[name].append(dict(headers)["quarantine-reason"].decode())
            else:
                produced[name].append(read(value) if name != "events" else value)

        output = cast("Output", SimpleNamespace(produce=produce))
        by_topic = {topics.raw(name): source for name, source in load_sources().items()}
        for offset, (topic, _, value, headers) in enumerate(self.producer.records):
            raw = SimpleNamespace(headers=headers, value=value, topic=topic, partition=0, offset=offset)
            Normalizer(by_topic[topic], topics, self.view, output, DefectLimits()).take([raw])
        return produced

    def telemetry(self) -> list[Telemetry]:
        """Return the telemetry of everything stored; nothing else may have come of it."""
        outcome = self.outcome()
        assert not outcome["unmapped"]
        assert not outcome["quarantine"]
        return outcome["telemetry"]
