"""Records that wait for their device, and a releaser driven step by step, over a registry the test controls."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import orjson

from fleetline.settings import Settings
from processors.limits import DefectLimits
from processors.normalize import Normalizer
from processors.output import Output
from processors.release import Releaser
from registry.model import Entry
from registry.view import RegistryView, entry_key
from schemas import topics as names
from sources.catalog import load_source
from tests.support import START_US, TENANT, produce, raw_headers

Raw = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""A raw record: key, value, headers."""


class Registry:
    """A view under the test's control, so that it may be ahead of others or behind."""

    def __init__(self, *entries: Entry) -> None:
        self.view = RegistryView()
        self.put(*entries)

    def put(self, *entries: Entry) -> None:
        for entry in entries:
            self.view.apply(entry_key(entry), msgspec.json.encode(entry))

    def remove(self, entry: Entry) -> None:
        self.view.apply(entry_key(entry), None)


def raw_generic(device: str, number: int, tenant: str = TENANT) -> Raw:
    """Make a raw record of the generic webhook: reading `number` of a device that its sender calls `device`."""
    headers = [(name, tenant.encode() if name == names.TENANT else value) for name, value in raw_headers()]
    body = {"externalDeviceId": device, "ts": START_US // 1000 + number, "temperature": number}
    return device.encode(), orjson.dumps(body), headers


def normalized(
    settings: Settings, view: RegistryView, raws: Iterable[tuple[str, Raw]]
) -> list[tuple[str, bytes, bytes, list[tuple[str, bytes]]]]:
    """Return what the normalizers produce of (source, raw record) under a view: (topic, key, value, headers)."""
    made: list[tuple[str, bytes, bytes, list[tuple[str, bytes]]]] = []

    def take(topic: str, key: bytes, value: bytes, headers: Any = None) -> None:
        made.append((topic, key, value, headers or []))

    output = cast("Output", SimpleNamespace(produce=take))
    for offset, (source, (_, value, headers)) in enumerate(raws):
        topic = settings.topics.raw(source)
        raw = SimpleNamespace(headers=headers, value=value, topic=topic, partition=0, offset=offset)
        Normalizer(load_source(source), settings.topics, view, output, DefectLimits()).take([raw])
    return made


def leave_waiting(settings: Settings, raws: Iterable[tuple[str, Raw]]) -> None:
    """Write records into `unmapped` as a normalizer does that knows no device."""
    made = normalized(settings, RegistryView(), raws)
    assert {topic for topic, *_ in made} <= {settings.topics.unmapped, settings.topics.quarantine}
    produce(
        settings,
        settings.topics.unmapped,
        [(key, value, headers) for topic, key, value, headers in made if topic == settings.topics.unmapped],
    )


def leave(settings: Settings, device: str, numbers: Iterable[int], tenant: str = TENANT) -> None:
    leave_waiting(settings, (("generic", raw_generic(device, n, tenant)) for n in numbers))


@contextmanager
def releaser(settings: Settings, view: RegistryView, **options: Any) -> Iterator[Releaser]:
    made = Releaser(settings, view, **options)
    try:
        yield made
    finally:
        made.stop()


def release_all(made: Releaser, count: int) -> None:
    """Step until so many records were released."""
    deadline, left = time.monotonic() + 40, count
    while left > 0:
        left -= made.step()
        assert time.monotonic() < deadline, f"{left} of {count} records were not released"
    assert left == 0


def all_read(made: Releaser) -> bool:
    return len(made._inboxes) == 2 and all(each.complete and each.sweep is None for each in made._inboxes.values())


def settle(made: Releaser, steps: int = 10) -> int:
    """Read all there is, do what is due, and return how many records that released."""
    count = 0
    while not all_read(made):
        count += made.step()
    for _ in range(steps):
        count += made.step()
    while not all_read(made):
        count += made.step()
    return count
