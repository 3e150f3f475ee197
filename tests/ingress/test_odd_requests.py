"""What no sender should send, and what a source should not do: a declared status, never a 5xx, never a loop."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetline.errors import FleetlineError
from fleetline.settings import Settings
from ingress.app import build_app
from ingress.producer import MemoryProducer
from registry.model import Credential, Entry, Tenant
from registry.secrets import digest, new_secret
from registry.view import RegistryView, entry_key
from schemas import topics
from sources.catalog import load_sources
from sources.contract import OnFailure, Request, Source
from sources.credentials import authorization, header, path_param, query
from sources.errors import Refused

TENANT = "tenant-a"
SECRET = new_secret()
Pairs = Sequence[tuple[bytes, bytes]]
BEARER: Pairs = [(b"authorization", f"Bearer {SECRET}".encode())]


def source(**changes: Any) -> Source:
    tiny = Source(
        name="tiny",
        title="Tiny",
        on_failure=OnFailure.RESENDS,
        split=lambda _: [],
        read=lambda *_: [],
        version="1",
        credentials=(authorization("bearer"), header("x-key"), path_param("token"), query("token")),
        ordering_key=lambda request: request.header("x-unit") or request.path_params.get("unit", ""),
        paths=("/t/{token}/data",),
        secret_path_parts=("token",),
        secret_query=("token",),
        path_part="unit",
        captured_headers=("x-unit", "authorization", "cookie", "x-device-token"),
    )
    return msgspec.structs.replace(tiny, **changes)


class Door:
    """An ingress in front of one source, driven by raw ASGI messages."""

    def __init__(self, declared: Source, **settings: Any) -> None:
        self.view = RegistryView()
        self.caught_up = True
        self.producer = MemoryProducer()
        self.add(Tenant(id=TENANT, name="A"))
        self.add(Credential(id="c", tenant_id=TENANT, source=declared.name, digest=digest(SECRET)))
        configured = Settings().model_copy(update={"max_body_bytes": 10_000, **settings})
        self.app = build_app(configured, {declared.name: declared}, self, self.producer)

    def add(self, entry: Entry) -> None:
        self.view.apply(entry_key(entry), msgspec.json.encode(entry))

    def ask(
        self,
        path: str = "/in/tiny",
        headers: Pairs = BEARER,
        parts: Sequence[bytes | None] = (b"body",),
        query_string: bytes = b"",
        method: str = "POST",
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Send one request whose body comes in `parts`; None is a sender that goes away."""
        incoming = [
            {"type": "http.disconnect"}
            if part is None
            else {"type": "http.request", "body": part, "more_body": number + 1 < len(parts)}
            for number, part in enumerate(parts)
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return incoming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode("utf-8", "replace"), "root_path": "", "query_string": query_string,
            "headers": list(headers), "server": ("x", 80), "client": ("y", 1), "state": {},
        }  # fmt: skip
        asyncio.run(self.app(scope, receive, send))
        start, *bodies = sent
        return start["status"], dict(start["headers"]), b"".join(each.get("body", b"") for each in bodies)

    @property
    def stored(self) -> list[dict[str, bytes]]:
        return [dict(record[3]) for record in self.producer.records]


NAMES = st.sampled_from(
    [
        b"authorization",
        b"content-length",
        b"content-encoding",
        b"content-type",
        b"x-key",
        b"x-unit",
        b"traceparent",
        b"cookie",
    ]
)
NAMED = st.tuples(NAMES, st.binary(max_size=60) | st.from_regex(rb"[0-9]{1,5000}", fullmatch=True))
ANY = st.tuples(st.binary(min_size=1, max_size=20).map(bytes.lower), st.binary(max_size=60))


@given(
    headers=st.lists(NAMED | ANY, max_size=8),
    authorized=st.booleans(),
    parts=st.lists(st.binary(max_size=3_000), min_size=1, max_size=5),
    query_string=st.binary(max_size=80),
    unit=st.text(max_size=20),
    method=st.sampled_from(["POST", "GET", "HEAD", "PUT"]),
)
def test_no_request_is_ever_a_5xx(
    headers: list[tuple[bytes, bytes]],
    authorized: bool,
    parts: list[bytes],
    query_string: bytes,
    unit: str,
    method: str,
) -> None:
    door = Door(source())
    sent = [*headers, *BEARER] if authorized else headers
    for path in ("/in/tiny", f"/in/tiny/{unit}", f"/t/{unit}/data", f"/{unit}"):
        status, _, _ = door.ask(path, sent, parts, query_string, method)
        assert status in {200, 400, 401, 404, 405, 413, 415}
    assert SECRET not in repr(door.producer.records)
    assert authorized or not door.producer.records


@pytest.mark.parametrize("digits", [b"9" * 18, b"9" * 19, b"9" * 5_000])
def test_an_absurd_length_is_413(digits: bytes) -> None:
    assert Door(source()).ask(headers=[*BEARER, (b"content-length", digits)])[0] == 413


def test_a_query_of_thousands_of_fields_is_400_before_anybody_reads_them() -> None:
    door = Door(source())
    assert door.ask(query_string=b"a=1&" * 200)[0] == 200
    assert door.ask(query_string=b"&" * 60_000, headers=[])[0] == 400
    assert len(door.producer.records) == 1


def test_a_body_in_parts_is_put_together_and_one_that_stops_is_400() -> None:
    door = Door(source())
    assert door.ask(parts=[b"one ", b"", b"two"])[0] == 200
    assert door.producer.records[0][2] == b"one two"
    for parts in ([b"one ", None], [None], [b"", None]):
        assert door.ask(parts=parts)[0] == 400
    assert len(door.producer.records) == 1


def test_no_secret_header_is_stored_though_the_source_asks_for_it() -> None:
    door = Door(source())
    hidden = [(b"cookie", b"hidden-1"), (b"x-device-token", b"hidden-2"), (b"x-unit", b"unit 7")]
    assert door.ask(headers=[*BEARER, *hidden])[0] == 200
    (kept,) = door.stored
    assert kept[topics.CAPTURED + "x-unit"] == b"unit 7"
    assert b"hidden" not in repr(kept).encode()
    assert "Bearer" not in repr(kept)


def test_the_secret_in_the_path_stays_a_placeholder() -> None:
    door = Door(source())
    assert door.ask(f"/t/{SECRET}/data", [], query_string=b"a=1")[0] == 200
    assert door.ask("/in/tiny/unit-1/", [], query_string=f"token={SECRET}&a=1".encode())[0] == 200
    assert [each[topics.PATH] for each in door.stored] == [b"/t/{token}/data", b"/in/tiny/{unit}"]
    assert [each[topics.QUERY] for each in door.stored] == [b"a=1", b"token=redacted&a=1"]
    assert [record[1] for record in door.producer.records] == [b"c", b"unit-1"]


def boom(_: Any) -> Any:
    raise ValueError(f"what the sender wrote: {SECRET}")


@pytest.mark.parametrize("name", ["check", "ordering_key"])
def test_a_mistake_of_the_source_does_not_send_the_record_back(name: str, caplog: pytest.LogCaptureFixture) -> None:
    door = Door(source(**{name: boom}))
    assert door.ask()[0] == 200  # AP-a26: a 500 would bring it again for days, and nothing new meanwhile
    assert door.producer.records[0][1] == b"c"
    assert f"{name} of source tiny failed with ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_an_extractor_that_fails_presents_nothing(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(source(credentials=(boom, authorization("bearer"))))
    assert door.ask()[0] == 200
    assert door.ask(headers=[])[0] == 401
    assert SECRET not in caplog.text
    assert len(door.producer.records) == 1


def test_a_body_that_cannot_be_sealed_is_not_stored(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    door = Door(source(seal=boom))
    assert door.ask()[0] == 500
    assert not door.producer.records


def test_a_refusal_has_the_status_of_the_source() -> None:
    def check(_: Request) -> None:
        raise Refused(413, "101 items")

    door = Door(source(check=check))
    status, headers, body = door.ask()
    assert (status, headers[b"content-type"]) == (413, b"application/problem+json")
    assert msgspec.json.decode(body) == {"status": 413, "detail": "101 items"}
    assert not door.producer.records


def test_more_paths_may_have_parts_and_an_end_of_their_own() -> None:
    door = Door(source(), path_map={"/": "tiny", "/devices/{unit}": "tiny", "/hook/": "tiny"})
    for path in ("/", "/devices/u-1", "/devices/u-1/", "/hook", "/hook/"):
        assert door.ask(path)[0] == 200
    assert [record[1] for record in door.producer.records] == [b"c", b"u-1", b"u-1", b"c", b"c"]
    assert door.ask("/devices")[0] == 404


PATH_MAPS: list[dict[str, str]] = [{"/x": "tyni"}, {"/healthz": "tiny"}, {"x": "tiny"}, {"/in/flespi/": "biketrax"}]


@pytest.mark.parametrize("path_map", PATH_MAPS)
def test_a_path_map_that_cannot_work_is_said_at_the_start(path_map: dict[str, str]) -> None:
    sources = {**load_sources(), "tiny": source()}
    make: Callable[[], object] = lambda: build_app(  # noqa: E731
        Settings().model_copy(update={"path_map": path_map}), sources, Door(source()), MemoryProducer()
    )
    with pytest.raises(FleetlineError):
        make()
