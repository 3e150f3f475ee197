"""The work every peer does with one raw record: normalize, identify, encode."""

from collections.abc import Iterable, Iterator

from fleetline.settings import Settings
from registry.follower import RegistryFollower
from schemas.records import telemetry_writer
from sources.catalog import load_source
from sources.engine import Canonical, canonicalize
from sources.raw_record import request_from_raw


class Work:
    """Normalizes flespi records against a registry that has been read."""

    def __init__(self, settings: Settings) -> None:
        self._follower = RegistryFollower(settings)
        self._follower.start()
        if not self._follower.wait_caught_up(30):
            raise RuntimeError("the registry could not be read")
        self._source = load_source("flespi")
        self._write = telemetry_writer()

    def records(
        self, headers: Iterable[tuple[str, bytes]] | None, body: bytes, topic: str, partition: int, offset: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (device id, Avro bytes) of each canonical record in a raw one."""
        request = request_from_raw(headers, body, topic, partition, offset)
        for made in canonicalize(self._source, request):
            if isinstance(made, Canonical):
                record = made.record
                found = self._follower.view.identify(
                    record["tenant_id"], request.device_id, made.identities, made.child
                )
                record["device_id"] = found.device_id
                yield found.device_id.encode(), self._write(record)
