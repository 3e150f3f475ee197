"""The BikeTrax connector against a platform on loopback: nothing is missed, whatever breaks."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from schemas.times import SECOND_US, now_us
from sources.biketrax import pull
from sources.biketrax.pull_account import BikeTraxAccount
from sources.errors import PullStopped
from tests.biketrax_platform import EMAIL, PASSWORD, TOKEN, Platform, platform
from tests.pull_session import MemorySession

pytestmark = pytest.mark.stack

HOUR_US = 3600 * SECOND_US


def account(server: Platform, **values: Any) -> BikeTraxAccount:
    fields = {"url": server.url, "token": SecretStr(TOKEN), "credential": "c", "retry_max_s": 0.2, "timeout_s": 5.0}
    return BikeTraxAccount(**{**fields, **values})


@asynccontextmanager
async def connector(server: Platform, session: MemorySession, **values: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """Run the connector while the block runs."""
    task = asyncio.create_task(pull.run(account(server, **values), session))
    waiting = asyncio.current_task()
    assert waiting is not None
    task.add_done_callback(lambda ended: None if ended.cancelled() else waiting.cancel())
    try:
        yield task
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(ended, asyncio.CancelledError):
            raise AssertionError("the connector ended") from ended


async def until(condition: Callable[[], Any], what: str = "", timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def settled(server: Platform, session: MemorySession) -> None:
    """Wait for an open socket, the first comparison, and the gap before both to be filled."""
    await until(lambda: server.sockets and session.saved)
    await until(lambda: (session.levels.get("connected"), session.levels.get("gap_open")) == (1, 0))


@pytest.fixture
async def server() -> AsyncIterator[Platform]:
    async with platform() as made:
        yield made


async def test_a_token_opens_a_session_and_its_cookie_the_socket(server: Platform) -> None:
    # BT-a17
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
    assert server.requests[0] == ("/api/session", {"token": [TOKEN], "accept": "*/*"})
    assert server.session_count == 1
    assert ("/api/socket", {"accept": ""}) in [(path, {"accept": ""}) for path, _ in server.requests]
    assert all("token" not in named for path, named in server.requests if path != "/api/session")


async def test_live_positions_and_events_are_stored_as_webhooks_have_them(server: Platform) -> None:
    # BT-a18
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        position = await server.move(11)
        event = await server.happen(11, position_id=position["id"])
        await until(lambda: session.pulled("event") == [event["id"]] and session.pulled("position"))
    webhook = MemorySession()
    webhook.webhook({"event": event, "device": {**server.devices[11], "name": "renamed"}, "position": position})
    assert session.canonical_ids("event") == webhook.canonical_ids("event")
    assert len(session.canonical_ids("position")) == 1


async def test_the_position_of_an_event_is_fetched_when_the_socket_did_not_bring_it(server: Platform) -> None:
    # BT-a18, BT-a20
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        gone = await server.move(11, push=False)
        there = await server.move(12, push=False)
        server.unreadable_position = gone["id"]
        first = await server.happen(11, position_id=gone["id"], push=False)
        second = await server.happen(12, position_id=there["id"], push=False)
        await server.push({"events": [first, second]})
        await until(lambda: len(session.pulled("event")) == 2)
    assert [b'"latitude"' in each.body for each in session.records if b'"event"' in each.body] == [False, True]


async def test_keep_alives_absent_keys_and_frames_nobody_can_read_stop_nothing(server: Platform) -> None:
    # BT-a18
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        strange: list[Any] = [
            {}, {"devices": []}, {"positions": None}, {"logs": [1]}, {"events": {}}, {"positions": [None, 1, "x", []]},
            {"events": [{"id": "x", "type": ["y"], "deviceId": {}}]}, {"devices": [None, {"id": "z"}, {}]},
        ]  # fmt: skip
        for frame in strange:
            await server.push(frame)
        await server.push_text("[1, 2")
        await server.push_text("[" * 5000)
        await server.push_text('{"positions": [' + "[" * 500 + "]" * 500 + "]}")
        event = await server.happen(12, "ignitionOn")
        await until(lambda: event["id"] in session.pulled("event"))
    assert session.counts["unreadable_frames"] == 2
    assert session.counts["unreadable_items"] == 1
    assert server.opened_sockets == 1


async def test_the_snapshot_after_a_reconnect_is_not_stored_again(server: Platform) -> None:
    # BT-a18, BT-a19
    for device_id in server.devices:
        await server.move(device_id)
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        await until(lambda: len(set(session.pulled("position"))) == 3)
        stored = len(session.pulled("position"))
        for number in range(1, 4):
            await server.close_sockets(abruptly=number == 2)
            await until(lambda number=number: server.opened_sockets > number and server.sockets)  # type: ignore[misc]
            await until(lambda number=number: session.counts.get("gaps_filled", 0) >= number)  # type: ignore[misc]
    assert len(session.pulled("position")) == stored


async def test_a_gap_is_filled_over_rest_with_what_bikes_kept_meanwhile_too(server: Platform) -> None:
    # BT-a19
    session = MemorySession()
    async with connector(server, session, retry_max_s=1.0):
        await settled(server, session)
        last_seen = now_us() - 7 * HOUR_US
        await server.move(11, fixed_us=last_seen)
        await until(lambda: len(session.pulled("position")) == 1)
        await server.close_sockets()
        kept = [await server.move(11, fixed_us=last_seen + hour * HOUR_US) for hour in range(1, 7)]
        fresh = await server.move(12)
        events = [await server.happen(11, at_us=last_seen + HOUR_US), await server.happen(12, "ignitionOff")]
        await until(lambda: len(set(session.pulled("position"))) == 8 and len(set(session.pulled("event"))) == 2)
    assert {each["id"] for each in [*kept, fresh]} < set(session.pulled("position"))
    assert {each["id"] for each in events} == set(session.pulled("event"))
    assert len(session.canonical_ids("position")) == 8
    assert len(session.canonical_ids("event")) == 2


async def test_only_devices_that_reported_since_are_asked_for(server: Platform) -> None:
    # BT-a19
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
    server.devices[11]["lastUpdate"] = "2020-01-01T00:00:00.000+00:00"
    server.devices[12]["lastUpdate"] = "2020-01-01T00:00:00.000+00:00"
    server.requests.clear()
    again = session.restarted()
    async with connector(server, again):
        await settled(server, again)
    asked = {named["deviceId"][0] for path, named in server.requests if path == "/api/positions"}
    assert asked == {"13"}  # never seen: nobody knows


async def test_a_webhook_that_never_came_is_noticed_and_healed_once(
    server: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    # BT-a21
    session = MemorySession()
    server.on_webhook = session.webhook
    hour_ago = now_us() - HOUR_US
    for number in range(40):
        server.drop_share = 1.0 if number in (7, 23) else 0.0
        await server.happen(11 + number % 3, at_us=hour_ago + number * SECOND_US)
    assert len(server.dropped) == 2
    with caplog.at_level(logging.WARNING):
        async with connector(server, session, reconcile_s=0.05):
            await until(lambda: session.saved >= 3)
    assert sorted(session.pulled("event")) == sorted(server.dropped)  # only those, and each once
    assert session.counts["webhooks_missing"] == 2
    assert len(session.canonical_ids("event")) == 40
    assert [str(number) in caplog.text for number in server.dropped] == [True, True]


async def test_a_lost_webhook_whose_event_came_by_the_socket_is_noticed_too(server: Platform) -> None:
    # BT-a21
    session = MemorySession()
    server.on_webhook = session.webhook
    async with connector(server, session, reconcile_s=0.05):
        await settled(server, session)
        await server.happen(11, at_us=now_us() - HOUR_US)
        server.drop_share = 1.0
        lost = await server.happen(11, at_us=now_us() - HOUR_US)
        young = await server.happen(11)  # its webhook may be on its way still
        unhooked = await server.happen(12, "deviceMoving", at_us=now_us() - HOUR_US)  # not among `webhookTypes`
        await until(lambda: session.counts.get("webhooks_missing"))
        passes = session.saved
        await until(lambda: session.saved > passes + 2)
    assert session.counts["webhooks_missing"] == 1
    assert {lost["id"], young["id"], unhooked["id"]} <= set(session.pulled("event"))


async def test_an_account_without_webhooks_misses_none(server: Platform) -> None:
    session = MemorySession()
    await server.happen(11, at_us=now_us() - HOUR_US)
    async with connector(server, session, reconcile_s=0.05):
        await until(lambda: session.saved >= 3)
    assert "webhooks_missing" not in session.counts
    assert len(session.pulled("event")) == 1


async def test_the_next_process_goes_on_where_the_last_one_was(server: Platform) -> None:
    # BT-a19
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        position = await server.move(11)
        await server.happen(11, position_id=position["id"])
        await until(lambda: session.pulled("event") and session.pulled("position"))
    missed = [await server.happen(12, "ignitionOn"), await server.happen(13, "ignitionOff")]
    moved = await server.move(12)
    again = session.restarted()
    async with connector(server, again):
        await settled(server, again)
        await until(lambda: len(set(again.pulled("event"))) == 3 and len(set(again.pulled("position"))) == 2)
    assert again.pulled("event").count(missed[0]["id"]) == 1
    assert again.pulled("position").count(position["id"]) == 1  # known from the raw topic
    assert moved["id"] in again.pulled("position")


async def test_a_long_absence_is_made_up_for_from_the_saved_mark_not_only_the_window(server: Platform) -> None:
    # BT-a19
    session = MemorySession()
    three_days_ago = now_us() - 72 * HOUR_US
    session.state = b'{"until_us":%d,"fixes":{"11":%d}}' % (three_days_ago, three_days_ago - HOUR_US)
    old = await server.happen(11, at_us=three_days_ago + HOUR_US)
    before = await server.happen(11, at_us=three_days_ago - 5 * HOUR_US)
    moved = await server.move(11, fixed_us=three_days_ago - HOUR_US // 2)
    async with connector(server, session):
        await settled(server, session)
    assert session.pulled("event") == [old["id"]]
    assert before["id"] not in session.pulled("event")
    assert session.pulled("position") == [moved["id"]]


async def test_a_state_nobody_can_read_begins_at_the_window(server: Platform) -> None:
    session = MemorySession()
    session.state = b"\x00not a state"
    event = await server.happen(11, at_us=now_us() - HOUR_US)
    async with connector(server, session):
        await settled(server, session)
    assert session.pulled("event") == [event["id"]]


async def test_a_server_that_is_down_at_the_start_is_waited_for(server: Platform) -> None:
    # BT-a19
    session = MemorySession()
    await server.stop()
    await server.happen(11)
    async with connector(server, session) as task:
        await until(lambda: session.counts.get("reconnects", 0) >= 3 and session.counts.get("failed_passes", 0) >= 3)
        assert not task.done()
        await server.start()
        await settled(server, session)
    assert len(session.pulled("event")) == 1


async def test_a_server_that_answers_errors_is_waited_for(server: Platform) -> None:
    # BT-a19
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        server.down = True
        await server.close_sockets()
        event = await server.happen(11)
        await until(lambda: session.counts.get("reconnects", 0) >= 3)
        server.down = False
        await until(lambda: event["id"] in session.pulled("event"))


async def test_an_expired_session_is_renewed_for_rest_and_for_the_socket(server: Platform) -> None:
    # BT-a17, BT-a20
    session = MemorySession()
    async with connector(server, session, reconcile_s=0.05):
        await settled(server, session)
        assert server.session_count == 1
        server.forget_sessions()
        passes = session.saved
        await until(lambda: session.saved > passes + 1)
        assert server.session_count == 2
        server.forget_sessions()
        await server.close_sockets()
        await until(lambda: server.sockets)
        event = await server.happen(11)
        await until(lambda: event["id"] in session.pulled("event"))
    assert server.session_count == 3


async def test_a_socket_refused_for_its_session_is_opened_with_a_new_one(server: Platform) -> None:
    # BT-a17
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        server.forget_sessions()
        server.requests.clear()
        await server.close_sockets()
        await until(lambda: server.sockets)
    assert [path for path, _ in server.requests][:3] == ["/api/socket", "/api/session", "/api/socket"]


async def test_a_wrong_token_ends_with_what_to_do_and_without_the_token(
    server: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    # BT-a17
    server.token_valid = False
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(PullStopped, match="BIKETRAX_TOKEN is wrong or was revoked") as found,
    ):
        async with asyncio.timeout(5):
            await pull.run(account(server), MemorySession())
    assert TOKEN not in str(found.value)
    assert TOKEN not in caplog.text
    assert server.session_count == 0


async def test_no_error_of_the_session_quotes_the_token(server: Platform, caplog: pytest.LogCaptureFixture) -> None:
    # BT-a17
    session = MemorySession()
    with caplog.at_level(logging.DEBUG):
        async with connector(server, session):
            server.failing["/api/session"] = 500
            await until(lambda: session.counts.get("reconnects", 0) >= 2)
            server.failing["/api/session"] = 302
            before = session.counts["reconnects"]
            await until(lambda: session.counts["reconnects"] >= before + 2)
            await server.stop()
            before = session.counts["reconnects"]
            await until(lambda: session.counts["reconnects"] >= before + 2)
    logged = "".join(caplog.handler.format(each) for each in caplog.records)
    assert "status 500" in logged
    assert "status 302" in logged
    assert TOKEN not in logged
    assert "SDBGAiEA" not in logged
    assert TOKEN not in repr(account(server))


@pytest.mark.parametrize("path", ["/api/session", "/api/socket", "/api/devices", "/api/reports/events"])
async def test_a_redirect_is_never_followed(server: Platform, path: str) -> None:
    session = MemorySession()
    server.failing[path] = 307
    async with connector(server, session):
        await until(lambda: session.counts.get("reconnects", 0) + session.counts.get("failed_passes", 0) >= 3)
    assert path in {path for path, _ in server.requests}
    assert "/elsewhere" not in {path for path, _ in server.requests}


async def test_a_server_without_the_api_is_said_so(server: Platform) -> None:
    with pytest.raises(PullStopped, match="check BIKETRAX_URL"):
        await pull.run(account(server, url=f"{server.url}/elsewhere"), MemorySession())


async def test_email_and_password_do_instead_of_a_token(server: Platform) -> None:
    # BT-a20
    session = MemorySession()
    event = await server.happen(11)
    values = {"token": SecretStr(""), "email": EMAIL, "password": SecretStr(PASSWORD)}
    async with connector(server, session, reconcile_s=0.05, **values):
        await settled(server, session)
        sessions = server.session_count
        server.forget_sessions()
        passes = session.saved
        await until(lambda: session.saved > passes + 1)
        assert server.session_count == sessions  # REST goes by standard authorization
    assert session.pulled("event") == [event["id"]]


async def test_an_answer_that_is_too_large_is_asked_for_in_halves(server: Platform) -> None:
    session = MemorySession()
    start = now_us() - 20 * HOUR_US
    for number in range(60):
        await server.happen(11, at_us=start + number * HOUR_US // 4)
        await server.move(11, fixed_us=start + number * HOUR_US // 4)
    async with connector(server, session, max_response_bytes=6_000):
        await settled(server, session)
    assert sorted(session.pulled("event")) == sorted(server.events)
    assert sorted(session.pulled("position")) == sorted(server.positions)


async def test_a_frame_that_is_too_large_ends_the_socket_and_is_made_up_for(server: Platform) -> None:
    session = MemorySession()
    async with connector(server, session, max_response_bytes=20_000):
        await settled(server, session)
        event = await server.happen(11, push=False)
        await server.push({"events": [event], "logs": ["x" * 30_000]})
        await until(lambda: event["id"] in session.pulled("event"))
    assert server.opened_sockets >= 2
    paths = [each.path for each in session.records if b'"event"' in each.body]
    assert paths == ["/api/reports/events"]


async def test_a_socket_that_says_nothing_is_opened_anew(server: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    # BT-a19
    monkeypatch.setattr(pull, "_STEP_S", 0.02)
    session = MemorySession()
    async with connector(server, session, idle_s=0.1):
        await until(lambda: server.opened_sockets >= 3)
    assert session.counts["reconnects"] >= 2


async def test_a_socket_with_nothing_to_say_for_a_while_stays_open(
    server: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    # BT-a18
    monkeypatch.setattr(pull, "_STEP_S", 0.01)
    session = MemorySession()
    async with connector(server, session, idle_s=60):
        await settled(server, session)
        for number in range(5):
            beats = session.beats
            await until(lambda beats=beats: session.beats > beats + 5)  # type: ignore[misc]
            await server.happen(11)
            await until(lambda number=number: len(session.pulled("event")) == number + 1)  # type: ignore[misc]
    assert server.opened_sockets == 1


@pytest.mark.parametrize("path", ["/api/session", "/api/socket", "/api/devices", "/api/reports/events"])
async def test_a_server_that_never_answers_holds_nothing_up_for_ever(server: Platform, path: str) -> None:
    # BT-a19
    session = MemorySession()
    event = await server.happen(11)
    server.hanging.add(path)
    async with connector(server, session, timeout_s=0.1):
        await until(lambda: session.counts.get("reconnects", 0) + session.counts.get("failed_passes", 0) >= 2)
        server.hanging.clear()
        await settled(server, session)
    assert event["id"] in session.pulled("event")


async def test_what_a_bike_kept_is_fetched_though_it_has_reported_live_since(server: Platform) -> None:
    # BT-a19
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        last_seen = now_us() - 9 * HOUR_US
        await server.move(11, fixed_us=last_seen)
        await until(lambda: len(session.pulled("position")) == 1)
        server.failing["/api/positions"] = 500
        await server.close_sockets()
        kept = [await server.move(11, fixed_us=last_seen + hour * HOUR_US, push=False) for hour in range(1, 9)]
        await until(lambda: server.sockets)
        live = await server.move(11)
        await until(lambda: live["id"] in session.pulled("position"))
        server.failing.clear()
        await until(lambda: {each["id"] for each in kept} <= set(session.pulled("position")))
        await until(lambda: session.counts.get("gaps_filled", 0) >= 2)


async def test_without_a_socket_everything_still_comes_by_rest(server: Platform) -> None:
    # BT-a19, BT-a21
    session = MemorySession()
    server.failing["/api/socket"] = 502
    async with connector(server, session, reconcile_s=0.05):
        await until(lambda: session.saved >= 2)
        event, position = await server.happen(11), await server.move(12)
        await until(lambda: event["id"] in session.pulled("event") and position["id"] in session.pulled("position"))
        passes = session.saved
        await until(lambda: session.saved > passes + 2)
    assert (len(session.pulled("event")), len(session.pulled("position"))) == (1, 1)


async def test_two_servers_of_one_tenant_may_use_the_same_numbers(server: Platform) -> None:
    # BT-a15
    session = MemorySession()
    other = Platform(devices=3)
    for device in other.devices.values():
        device["uniqueId"] = f"other-{device['id']}"
    other.on_webhook = session.webhook
    theirs = await other.happen(11, at_us=now_us() - HOUR_US)
    ours = await server.happen(11, at_us=now_us() - HOUR_US)
    assert theirs["id"] == ours["id"]
    async with connector(server, session, reconcile_s=0.05):
        await until(lambda: session.saved >= 2)
    assert session.pulled("event") == [ours["id"]]
    assert len(session.canonical_ids("event")) == 2


async def test_no_frame_whatever_it_holds_ends_the_connector(server: Platform) -> None:
    # BT-a18
    session = MemorySession()
    chance = random.Random(3)
    position = await server.move(11, push=False)
    event = await server.happen(11, position_id=position["id"], push=False)
    whole = {"devices": [server.devices[11]], "positions": [position], "events": [event]}
    odd: list[Any] = [
        None,
        True,
        -1,
        0,
        1e300,
        2**60,
        "",
        "\u0000",
        "x" * 300,
        [],
        {},
        [[]],
        {"id": 1},
        [None, {"id": []}],
    ]

    def damaged(value: Any) -> Any:
        if chance.random() < 0.08:
            return chance.choice(odd)
        if isinstance(value, dict):
            return {key: damaged(each) for key, each in value.items() if chance.random() > 0.03}
        return [damaged(each) for each in value] if isinstance(value, list) else value

    async with connector(server, session, reconcile_s=0.05):
        await settled(server, session)
        for _ in range(400):
            await server.push(damaged(whole))
        last = await server.happen(12)
        await until(lambda: last["id"] in session.pulled("event"))
        passes = session.saved
        await until(lambda: session.saved > passes + 1)
    assert server.opened_sockets == 1


async def test_a_new_bike_is_asked_for_when_it_reports(server: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.biketrax.pull_feed._REFRESH_S", 0.0)
    session = MemorySession()
    async with connector(server, session):
        await settled(server, session)
        server.devices[99] = server._device(99)
        event = await server.happen(99)
        await until(lambda: event["id"] in session.pulled("event"))
    assert b'"uniqueId":"861261020000099"' in session.records[-1].body


async def test_the_state_never_runs_ahead_of_what_is_durable(server: Platform) -> None:
    # BT-a19
    session = MemorySession()
    await server.happen(11)
    session.durable.clear()
    async with connector(server, session, reconcile_s=0.05):
        await until(lambda: server.sockets)
        await asyncio.sleep(0.3)
        assert (session.saved, session.state) == (0, b"")
        session.durable.set()
        await until(lambda: session.saved)
    assert len(session.pulled("event")) == 1


async def test_pauses_grow_with_jitter_up_to_their_limit() -> None:
    # BT-a19
    for attempt, ceiling in ((0, 1), (1, 2), (3, 8), (5, 32), (6, 60), (50, 60)):
        made = {pull._pause_s(attempt, 60.0) for _ in range(200)}
        assert len(made) > 100
        assert ceiling / 2 <= min(made) <= max(made) <= ceiling


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "BIKETRAX_TOKEN"),
        ({"BIKETRAX_EMAIL": EMAIL}, "BIKETRAX_PASSWORD"),
        ({"BIKETRAX_TOKEN": "t", "BIKETRAX_URL": "ftp://example.com"}, "BIKETRAX_URL cannot be used"),
        ({"BIKETRAX_TOKEN": "t", "BIKETRAX_URL": "https://me:hidden@example.com"}, "BIKETRAX_URL cannot be used"),
        ({"BIKETRAX_TOKEN": "t", "BIKETRAX_RECONCILE_S": "soon"}, "BIKETRAX_RECONCILE_S cannot be used"),
        ({"BIKETRAX_TOKEN": "t", "BIKETRAX_WINDOW_HOURS": "-1"}, "BIKETRAX_WINDOW_HOURS cannot be used"),
    ],
)
def test_settings_that_cannot_work_are_said(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TOKEN", "EMAIL", "PASSWORD", "URL"):
        monkeypatch.delenv(f"BIKETRAX_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PullStopped, match=said) as found:
        pull.configure()
    assert "hidden" not in str(found.value)


def test_the_default_server_is_the_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    # BT-c01
    monkeypatch.setenv("BIKETRAX_TOKEN", "t")
    assert pull.configure().url == "https://iot.powunity.com"
