"""What all transports of one process share: the broker's client, the spool, the limits, and one acceptance per source."""

from collections.abc import Callable, Mapping

from fleetline.settings import Settings
from ingress.acceptance import Acceptance
from ingress.durable import DurableLog
from ingress.limits import RateLimits
from ingress.producer import Producer
from ingress.spool import Spool
from registry.view import RegistryView
from sources.contract import Source


class Intake:
    """The way from any transport into the raw topics. Started before the first message, stopped after the last."""

    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, Source],
        view: RegistryView,
        producer: Producer,
        spool: Spool | None = None,
        caught_up: Callable[[], bool] = lambda: True,
    ) -> None:
        self.producer = producer
        self.spool = spool
        self.view = view
        self.durable = DurableLog(producer, spool, settings.max_in_flight_bytes)
        limits = RateLimits(settings)
        self._acceptances = {
            name: Acceptance(source, settings, view, self.durable, limits, caught_up)
            for name, source in sources.items()
        }

    def of(self, source: str) -> Acceptance:
        """Return how messages of a source are accepted."""
        return self._acceptances[source]

    async def is_usable(self) -> bool:
        """Tell whether a record could be made durable now: in Kafka, or at least in the spool."""
        return await self.producer.is_reachable() or (self.spool is not None and self.spool.is_usable)

    async def start(self) -> None:
        """Begin to serve delivery reports, and to replay what is spooled."""
        await self.producer.start()
        if self.spool is not None:
            await self.spool.start(self.producer.append)

    async def stop(self) -> None:
        """Wait for what is in flight, then end."""
        if self.spool is not None:
            await self.spool.stop()
        await self.producer.stop()


def spool_of(settings: Settings) -> Spool | None:
    """Return this installation's spool; None when it is switched off (`spool_max_bytes` 0)."""
    return Spool(settings.data_dir / "spool", settings.spool_max_bytes) if settings.spool_max_bytes else None
