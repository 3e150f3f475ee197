"""Which topic belongs to which source: derived from the sources' declarations."""

from collections.abc import Iterable

import msgspec

from fleetline.errors import FleetlineError
from sources.contract import Source

_HIDDEN = "…"


class Topic(msgspec.Struct, frozen=True):
    """One declared topic. `part` is the name of its variable level, empty when it has none."""

    source: str
    template: str
    part: str
    before: str
    after: str
    is_secret: bool
    """The variable level is a token."""


class TopicMap:
    """Finds the declared topic a client publishes to. A topic without variable level is found first."""

    def __init__(self, sources: Iterable[Source]) -> None:
        """Raise FleetlineError when two sources claim one topic, or one is not written as it must be."""
        self._exact: dict[str, Topic] = {}
        self._variable: list[Topic] = []
        for source in sources:
            for template in source.mqtt_topics:
                self._add(_parsed(source, template))
        self._known = {level for topic in self.all for level in topic.template.split("/") if "{" not in level}

    def _add(self, topic: Topic) -> None:
        taken = [each for each in self.all if each.before == topic.before and each.after == topic.after]
        if any(bool(each.part) == bool(topic.part) for each in taken):
            raise FleetlineError(f"{topic.template} cannot be an MQTT topic of {topic.source}: it is taken")
        if topic.part:
            self._variable.append(topic)
        else:
            self._exact[topic.template] = topic

    @property
    def all(self) -> tuple[Topic, ...]:
        """Every declared topic."""
        return (*self._exact.values(), *self._variable)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that speak MQTT."""
        return tuple(dict.fromkeys(topic.source for topic in self.all))

    def find(self, topic: str) -> tuple[Topic, str] | None:
        """Return the declared topic and what stands in its variable level, or nothing."""
        exact = self._exact.get(topic)
        if exact is not None:
            return exact, ""
        for each in self._variable:
            if topic.startswith(each.before) and topic.endswith(each.after):
                part = topic[len(each.before) : len(topic) - len(each.after)]
                if part and "/" not in part:
                    return each, part
        return None

    def is_own(self, topic_filter: str, token: str) -> bool:
        """Tell whether a subscription stays beside the client's own topics: `v1/devices/me/…`, `devices/<its token>/…`."""
        return any(
            topic_filter.startswith(_beside(each, token)) for each in self.all if each.is_secret or not each.part
        )

    def redacted(self, topic: str) -> str:
        """Return a topic fit for a log: levels that no declaration knows may be tokens."""
        return "/".join(level if level in self._known else _HIDDEN for level in topic.split("/")[:8])


def _parsed(source: Source, template: str) -> Topic:
    before, brace, rest = template.partition("{")
    part, _, after = rest.partition("}")
    levels = template.split("/")
    wrong = not all(levels) or any(each in template for each in "+#\0") or "{" in after or "}" in after
    if wrong or (brace and f"{{{part}}}" not in levels) or (not brace and "}" in template):
        raise FleetlineError(f"{template!r} of {source.name} is no MQTT topic: at most one level may be a {{part}}")
    return Topic(source.name, template, part, before, after, part in source.secret_path_parts)


def _beside(topic: Topic, token: str) -> str:
    """Return what the topics beside a declared one begin with: `v1/devices/me/` beside `v1/devices/me/telemetry`."""
    filled = topic.before + (token if topic.part else "") + topic.after
    return filled[: filled.rfind("/") + 1] or filled
