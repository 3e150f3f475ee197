"""The operators' page names every metric there is and the limits as they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetline.settings import MIB, Settings
from ingress import connection, durable, errors, producer, rejected, slots, spool, websocket, websocket_server
from ingress.intake import Intake
from ingress.metrics import IngressMetrics
from ingress.mqtt import server, session
from ingress.mqtt.metrics import MqttCounts
from registry.view import RegistryView
from sources.catalog import load_sources

PAGE = (Path(__file__).parents[2] / "docs" / "ingress.md").read_text("utf-8")
DEFAULTS = Settings()


def test_every_metric_is_explained(tmp_path: Path) -> None:
    intake = Intake(
        DEFAULTS,
        load_sources(),
        RegistryView(),
        producer.MemoryProducer(),
        spool.Spool(tmp_path, DEFAULTS.spool_max_bytes),
    )
    metrics = IngressMetrics(intake)
    MqttCounts(metrics)
    metrics.registry.register(rejected.RejectedStore(tmp_path))
    families = list(metrics.registry.collect())
    rows = {line.split("`")[1].partition("{")[0] for line in PAGE.splitlines() if line.startswith("| `fleetline_")}
    assert rows == {each.name + ("_total" if each.type == "counter" else "") for each in families}


def _limits() -> Iterator[tuple[str, str]]:
    share = {"mqtt": server._ROOM, "senders that come again": durable._RESENDERS_SHARE}
    yield f"for longer than {producer.DEADLINE_S:g} s", "Deadlines"
    yield (
        f"503 after {producer._MESSAGE_TIMEOUT_MS / 1000:g} s, at the latest after {producer.DEADLINE_S:g} s",
        "Deadlines",
    )
    yield f"spooled after {durable.SPOOL_AFTER_S:g} s", "Deadlines"
    yield f"`Retry-After: {errors.RETRY_AFTER_S}`", "What happens to a request"
    yield f"up to {slots.SLOTS} processes", "The spool"
    yield f"{DEFAULTS.spool_max_bytes // MIB // 1024} GiB by default", "The spool"
    yield f"({DEFAULTS.max_in_flight_bytes // MIB} MiB)", "Who is shed first"
    yield f"| {share['mqtt']:.0%}".replace("%", " %"), "Who is shed first"
    yield f"| {share['senders that come again']:.0%}".replace("%", " %"), "Who is shed first"
    yield f"({DEFAULTS.rate_limit_credential:,.0f} requests per second)", "Rate limits"
    yield f"`FLEETLINE_RATE_LIMIT_TENANT` ({DEFAULTS.rate_limit_tenant:,.0f})", "Rate limits"
    yield f"({DEFAULTS.rate_limit_credit_s:.0f}) seconds", "Rate limits"
    yield f"| {connection.HEAD_LIMIT_S:g} s, {connection.HEAD_LIMIT_BYTES // 1024} KiB |", "Slow and oversized senders"
    yield f"| {connection.BODY_LIMIT_S:g} s, `", "Slow and oversized senders"
    yield f"| idle | {connection.IDLE_LIMIT_S:g} s |", "Slow and oversized senders"
    yield f"{session.CONNECT_WITHIN_S:g} s (CONNECT), {server._HANDSHAKE_S:g} s for TLS", "Slow and oversized senders"
    yield f"{session.PACKET_WITHIN_S:g} s or its keep-alive", "Slow and oversized senders"
    yield f"{session.IN_FLIGHT} publishes or {session.IN_FLIGHT_BYTES // MIB} MiB", "Slow and oversized senders"
    yield f"open files less {server._SPARE_FILES}", "Slow and oversized senders"
    yield f"{websocket.AUTH_LIMIT_S:g} s (auth frame)", "Slow and oversized senders"
    yield f"{websocket.IN_FLIGHT} frames", "Slow and oversized senders"
    yield f"every {websocket_server.PING_S:g} s", "Slow and oversized senders"
    yield f"bodies up to {rejected.LARGEST_BODY // 1024} KiB", "What was refused"


@pytest.mark.parametrize(("stated", "section"), list(_limits()))
def test_every_limit_is_stated_as_it_is(stated: str, section: str) -> None:
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert stated in text
