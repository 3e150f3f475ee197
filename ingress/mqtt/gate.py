"""Who may publish what, and the way into the raw topics: the rules of the sources and the registry, without the protocol."""

import logging
from collections.abc import Mapping

import msgspec

from fleetline.settings import Settings
from ingress.acceptance import Acceptance
from ingress.errors import Unauthorized
from ingress.intake import Intake
from ingress.mqtt.packets import V5, Publish
from ingress.mqtt.topics import Topic, TopicMap
from ingress.producer import Producer
from ingress.spool import Spool
from registry.model import Credential
from registry.view import RegistryView
from sources.contract import NOTHING, OnFailure, Request, Source

log = logging.getLogger(__name__)

TRANSPORT, METHOD = "mqtt", "PUBLISH"


class Forbidden(Exception):
    """The topic is not the client's to publish to, or nobody's. `topic` is fit for a log."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


class Passage(msgspec.Struct, frozen=True, gc=False):
    """A publish that may go in, and in whose name."""

    acceptance: Acceptance
    request: Request
    credential: Credential


class Gate:
    """Every declared topic with the acceptance of its source, in three kinds.

    - QoS 1 and 2, MQTT 5: what the source's `check` refuses is refused, the PUBACK says so, and nothing is kept.
    - QoS 1 and 2, MQTT 3.1.1: no answer can say so, and a closed connection would bring the same bytes back for days. They
      are stored as they are, and what cannot be read is quarantined.
    - QoS 0: stored likewise; the client never sends again, so the spool takes it while Kafka is away (if it is on).

    With QoS 1 and 2 the client keeps the message until it is acknowledged: only Kafka makes it durable.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, Source],
        view: RegistryView,
        producer: Producer,
        spool: Spool | None = None,
    ) -> None:
        """Raise FleetlineError when the sources' topics contradict each other."""
        self.topics = TopicMap(sources.values())
        self._view = view
        kinds: dict[str, Source] = {}
        for name in self.topics.sources:
            kept = msgspec.structs.replace(sources[name], on_failure=OnFailure.RESENDS)
            kinds[f"{name}/answered"] = kept
            kinds[f"{name}/acknowledged"] = msgspec.structs.replace(kept, check=_unchecked)
            kinds[f"{name}/sent"] = msgspec.structs.replace(kept, check=_unchecked, on_failure=OnFailure.DROPS)
        self.intake = Intake(settings, kinds, view, producer, spool)
        self._of = {(name.partition("/")[0], name.partition("/")[2]): self.intake.of(name) for name in kinds}

    def admit(self, token: str) -> Credential:
        """Find whose token a user name is. Raises Unauthorized, and TooManyRequests."""
        for name in self.topics.sources:
            try:
                return self._of[name, "answered"].authenticate(_presenting(token))
            except Unauthorized:
                continue
        raise Unauthorized

    def open(self, token: str, publish: Publish, level: int) -> Passage:
        """Let a publish pass in the name of the device its topic means.

        Raises Forbidden for topics that are none of the client's; Unauthorized when its own token opens nothing any more;
        TooManyRequests.
        """
        found = self.topics.find(publish.topic)
        if found is None:
            raise Forbidden(self.topics.redacted(publish.topic))
        topic, part = found
        acceptance = self._of[topic.source, _kind(publish, level)]
        request = _presenting(token)
        request.path = topic.template
        request.content_type = publish.content_type
        request.body = publish.payload
        if topic.part:
            request.path_params = {topic.part: token if topic.is_secret else part}
        credential = acceptance.authenticate(request)
        if topic.is_secret and part != token:
            credential = self._other(acceptance, topic, part, credential)
        return Passage(acceptance, request, credential)

    def _other(self, acceptance: Acceptance, topic: Topic, token: str, own: Credential) -> Credential:
        """Return the credential behind another token in the topic: the same device's, or of a child of this gateway (AC-a10)."""
        request = Request(transport=TRANSPORT, method=METHOD, path_params={topic.part: token})
        try:
            other = acceptance.authenticate(request)
        except Unauthorized:
            raise Forbidden(topic.template) from None
        if other.tenant_id != own.tenant_id or not own.device_id:
            raise Forbidden(topic.template)
        if other.device_id != own.device_id:
            gateway, device = self._view.device(own.device_id), self._view.device(other.device_id)
            if gateway is None or device is None or not gateway.gateway or device.parent_id != gateway.id:
                raise Forbidden(topic.template)
        return other


def _unchecked(_: Request) -> None:
    """Accept every body; the normalizer quarantines what it cannot read."""


def _kind(publish: Publish, level: int) -> str:
    if not publish.qos:
        return "sent"
    return "answered" if level == V5 else "acknowledged"


def _presenting(token: str) -> Request:
    """Present the user name as a bearer token, which every source that speaks MQTT understands."""
    headers = {"authorization": f"Bearer {token}"} if token else NOTHING
    return Request(transport=TRANSPORT, method=METHOD, headers=headers)
