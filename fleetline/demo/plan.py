"""What the demo sends and what must come of it, worked out from the bundled samples alone."""

from dataclasses import dataclass, field

from fleetline.settings import Settings
from registry.model import DEV_EUI, EXTERNAL_ID, INTEGRATION, Credential, Destination, Device, Entry, Tenant
from registry.sealing import seal
from registry.secrets import digest, new_secret
from schemas.ids import new_id
from sources.catalog import load_source
from sources.samples import Sample, all_samples


@dataclass(frozen=True, slots=True)
class Posting:
    """One sample ready to be sent: with a real credential, and what its golden records promise."""

    source: str
    name: str
    sample: Sample
    path: str
    query: str
    headers: dict[str, str]

    @property
    def records(self) -> int:
        """Canonical records that must reach ClickHouse."""
        return len(self.sample.canonical)

    @property
    def sender_events(self) -> int:
        """Events the sender itself made."""
        return sum(view["event"] is not None for view in self.sample.canonical)

    @property
    def quarantined(self) -> int:
        """Pieces that must be kept in quarantine."""
        return len(self.sample.quarantined)


@dataclass(slots=True)
class Plan:
    """A new tenant with everything its samples need, and the postings."""

    tenant: Tenant
    destination: Destination
    psk: str
    entries: list[Entry] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)

    @property
    def records(self) -> int:
        """Canonical records over all postings."""
        return sum(posting.records for posting in self.postings)

    @property
    def sender_events(self) -> int:
        """Sender-made events over all postings."""
        return sum(posting.sender_events for posting in self.postings)

    @property
    def quarantined(self) -> int:
        """Quarantined pieces over all postings."""
        return sum(posting.quarantined for posting in self.postings)


def make_plan(settings: Settings, webhook_url: str) -> Plan:
    """Build the plan. Every run makes a new tenant, so runs never count each other's records."""
    tenant = Tenant(id=new_id(), name=f"Demo {new_id()[:8]}")
    psk = f"Bearer {new_secret()}"
    destination = Destination(
        id=new_id(), tenant_id=tenant.id, kind="webhook", url=webhook_url, sealed_psk=seal(settings, psk)
    )
    plan = Plan(tenant=tenant, destination=destination, psk=psk, entries=[tenant, destination])
    opener = _Credentials(plan)
    devices: dict[str, str] = {}
    for source, name, sample in all_samples():
        for declared in sample.devices:
            devices.setdefault(declared.id, new_id())
        for declared in sample.devices:
            attributes = {
                EXTERNAL_ID: declared.external_id or declared.id,
                DEV_EUI: declared.dev_eui,
                "imei": declared.imei,
                "serial": declared.serial,
            }
            plan.entries.append(
                Device(
                    id=devices[declared.id],
                    tenant_id=tenant.id,
                    name=declared.name,
                    gateway=declared.gateway,
                    parent_id=devices.get(declared.parent, ""),
                    attributes={key: value for key, value in attributes.items() if value},
                )
            )
        secret = opener.secret(source, devices.get(sample.credential.get("device", ""), ""))
        path, query, headers = sample.filled(secret, tenant.id)
        plan.postings.append(Posting(source, name, sample, path, query, headers))
    return plan


class _Credentials:
    """Makes each credential once: one per source and device, and one integration secret for the tenant."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._secrets: dict[tuple[str, str], str] = {}

    def secret(self, source: str, device_id: str) -> str:
        opens = INTEGRATION if load_source(source).tenant_secret and not device_id else source
        key = (opens, device_id)
        if key not in self._secrets:
            made = self._secrets[key] = new_secret()
            self._plan.entries.append(
                Credential(
                    id=new_id(),
                    tenant_id=self._plan.tenant.id,
                    source=opens,
                    digest=digest(made),
                    device_id=device_id,
                )
            )
        return self._secrets[key]
