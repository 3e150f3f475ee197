"""What each component must be allowed in Kafka: the table in `docs/kafka-security.md`, and what the tests grant and no more."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fleetline.kafka_admin import topic_manifest
from fleetline.settings import Settings
from schemas.topics import RETRY_TIERS
from sources.catalog import source_names

SETUP = "setup"
EVERY_COMPONENT = ("doors", "pull", "processors", "clickhouse", "delivery", "admin")


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One permission: `operation` on the `kind` of resource called `name`, or beginning so where it is a prefix."""

    kind: str
    name: str
    operation: str
    is_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """What a component does. Topics are full names; `joins` are consumer groups, `looks` those whose offsets it only asks for.

    Readers that begin where they want give the client a group's name too, as it demands one. They need no permission for it.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    transactions: tuple[str, ...] = ()


def access(settings: Settings) -> dict[str, Access]:
    """Return what each component does, by its name in the documentation. `setup` makes the topics, once."""
    from sinks.clickhouse.tables import tables

    topics, prefix = settings.topics, settings.topic_prefix
    raw = tuple(topics.raw(source) for source in source_names())
    retries = tuple(topics.deliveries_retry(tier) for tier in RETRY_TIERS)
    changelog = f"{prefix}processors-device-states-changelog"
    return {
        SETUP: Access(makes=tuple(sorted(topic_manifest(settings)))),
        "doors": Access(reads=(topics.registry,), writes=raw),
        "pull": Access(reads=(topics.registry, topics.pulls, *raw), writes=(topics.pulls, *raw)),
        "processors": Access(
            reads=(*raw, topics.telemetry, topics.events, topics.unmapped, topics.registry, changelog),
            writes=(
                topics.telemetry, topics.events, topics.unmapped, topics.quarantine, topics.deliveries, changelog,
            ),
            makes=(changelog,),
            joins=(f"{prefix}processors", f"{prefix}unmapped"),
        ),
        "clickhouse": Access(
            reads=tuple(tables(topics)), writes=(topics.quarantine,), joins=(f"{prefix}clickhouse",)
        ),
        "delivery": Access(
            reads=(topics.deliveries, *retries, topics.registry),
            writes=(*retries, topics.deliveries_dead, topics.delivery_attempts),
            joins=(f"{prefix}delivery",),
        ),
        "admin": Access(
            reads=(topics.registry,),
            writes=(topics.registry, topics.audit),
            transactions=(f"{prefix}registry",),
        ),
        "commands": Access(
            reads=tuple(sorted(topic_manifest(settings))), looks=(f"{prefix}processors", f"{prefix}clickhouse")
        ),
    }  # fmt: skip


def grants(settings: Settings, component: str) -> list[Grant]:
    """Return the permissions a component needs, in order.

    Everyone may see the topics of the installation: a component looks for what is missing when it starts.
    """
    return sorted(set(_grants(access(settings)[component], settings.topic_prefix)))


def _grants(needed: Access, prefix: str) -> Iterator[Grant]:
    yield Grant("Topic", prefix, "Describe", is_prefix=True)
    for kind, operation, names in (
        ("Topic", "Read", needed.reads),
        ("Topic", "Write", needed.writes),
        ("Topic", "Create", needed.makes),
        ("Group", "Read", needed.joins),
        ("Group", "Describe", needed.looks),
        ("TransactionalId", "Write", needed.transactions),
    ):
        yield from (Grant(kind, name, operation) for name in names)


def table(prefix: str = "<prefix>") -> str:
    """Return the table of the documentation; `raw.*` and `deliveries.retry.*` stand for one topic per source and per tier."""
    settings = Settings(topic_prefix=prefix)
    topics = settings.topics
    groups = {
        f"{prefix}*": set(topic_manifest(settings)),
        topics.raw("*"): {topics.raw(source) for source in source_names()},
        topics.deliveries_retry("*"): {topics.deliveries_retry(tier) for tier in RETRY_TIERS},
    }

    def shown(names: Iterable[str]) -> str:
        left = set(names)
        for short, group in groups.items():
            if left >= group:
                left = left - group | {short}
        return ", ".join(f"`{name}`" for name in sorted(left))

    heads = (
        "component",
        "Read",
        "Write",
        "Create",
        "joins groups: Read",
        "names groups: Describe",
        "transactional id: Write",
    )
    rows = [heads, ("---",) * len(heads)]
    for name, each in access(settings).items():
        cells = (each.reads, each.writes, each.makes, each.joins, each.looks, each.transactions)
        rows.append((f"`{name}`", *(shown(cell) for cell in cells)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
