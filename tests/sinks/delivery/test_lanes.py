"""Lanes and their picker: plain bookkeeping, so plain tests."""

from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.lanes import Item, Lane, Lanes
from sinks.delivery.limits import Limits
from sinks.delivery.offsets import Window
from sinks.delivery.task import Task


def item(destination: str = "d") -> Item:
    task = Task(id="t", destination_id=destination, tenant_id="x", event={})
    return Item(task, Window(), 0)


def fill(lanes: Lanes, key: str, count: int, now: float = 0.0) -> None:
    for _ in range(count):
        lanes.push(lanes.lane(key), item(key), now)


def picked(lanes: Lanes, now: float = 0.0) -> list[str]:
    found = []
    while (each := lanes.pick(now)) is not None:
        found.append(each[0].key)
    return found


def test_the_picker_takes_one_of_each_lane_in_turn() -> None:
    lanes = Lanes(Limits(first_limit=3))
    fill(lanes, "a", 5)
    fill(lanes, "b", 2)
    fill(lanes, "c", 1)
    assert picked(lanes) == ["a", "b", "c", "a", "b", "a"]


def test_one_destination_never_has_more_on_the_way_than_its_cap() -> None:
    lanes = Lanes(Limits(first_limit=4, per_destination=6))
    fill(lanes, "a", 100)
    assert len(picked(lanes)) == 4
    lane = lanes.lane("a")
    for _ in range(50):
        lanes.landed(lane, next(iter(lane.flying)))
        lane.answered(0.01)
        lanes.offer(lane, 0.0)
        picked(lanes)
        assert len(lane.flying) <= 6


def test_the_slots_bound_everything() -> None:
    lanes = Lanes(Limits(in_flight=5, first_limit=4))
    for key in "abcdef":
        fill(lanes, key, 4)
    assert len(picked(lanes)) == 5


def test_requests_that_hang_give_their_slots_back_to_others() -> None:
    lanes = Lanes(Limits(in_flight=4, first_limit=4, slow_after=1.0, slow_in_flight=8))
    fill(lanes, "hangs", 4)
    fill(lanes, "well", 3)
    assert picked(lanes, 0.0).count("hangs") >= 2
    assert not picked(lanes, 0.5)
    assert lanes.age(1.5)
    assert picked(lanes, 1.5)
    assert lanes.young <= 4


def test_a_hanging_destination_gets_no_more_when_the_slow_ones_are_too_many() -> None:
    lanes = Lanes(Limits(in_flight=8, first_limit=2, slow_after=1.0, slow_in_flight=2))
    fill(lanes, "hangs", 2)
    assert len(picked(lanes, 0.0)) == 2
    lanes.age(2.0)
    lane = lanes.lane("hangs")
    lane.limit = 10
    fill(lanes, "hangs", 5, 2.0)
    fill(lanes, "well", 1, 2.0)
    assert picked(lanes, 2.0) == ["well"]
    first = next(iter(lane.flying))
    lanes.landed(lane, first)
    lanes.offer(lane, 2.0)
    assert picked(lanes, 2.0)[0] == "hangs"


def test_a_lane_takes_all_it_can_send_in_time_and_little_when_its_destination_is_slow() -> None:
    limits = Limits(patience=3.0, lane_floor=32, queue=5000)
    lanes = Lanes(limits)
    quick, slow = lanes.lane("quick"), lanes.lane("slow")
    for _ in range(60):
        quick.answered(0.02)
        slow.answered(4.0)
    fill(lanes, "quick", 1500)
    assert quick.takes(0.0)
    fill(lanes, "slow", 100)
    assert not slow.takes(0.0)
    left = sum(1 for _ in lanes.excess(slow, 0.0))
    assert 32 <= len(slow.queue) == 100 - left < 60
    assert slow.expected_wait(0.0) <= limits.patience + 0.1


def test_when_the_queue_is_nearly_full_lanes_that_do_not_move_are_emptied_first() -> None:
    lanes = Lanes(Limits(queue=500))
    moves, hangs = lanes.lane("moves"), lanes.lane("hangs")
    for _ in range(60):
        moves.answered(0.02)
        hangs.answered(9.0)
    fill(lanes, "hangs", 30)
    fill(lanes, "moves", 440)
    assert len(list(lanes.excess(moves, 0.0))) == 0
    assert len(list(lanes.excess(hangs, 0.0))) >= 15


def test_concurrency_grows_only_while_answers_do_not_take_longer_for_it() -> None:
    lane = Lanes(Limits()).lane("a")
    for _ in range(100):
        lane.answered(0.2)
    assert lane.cap == 64
    for _ in range(100):
        lane.answered(0.01)
    for _ in range(40):
        lane.answered(0.1)
    assert lane.cap < 64


def test_a_destination_that_never_answered_is_judged_by_the_request_that_waits() -> None:
    lanes = Lanes(Limits(first_limit=4))
    fill(lanes, "a", 500)
    lane = lanes.lane("a")
    assert lane.takes(0.0)
    picked(lanes, 0.0)
    assert not lane.takes(1.0)


def test_five_failures_open_the_breaker_and_one_probe_closes_it() -> None:
    lanes = Lanes(Limits())
    lane = lanes.lane("a")
    assert not any(lane.troubled(0.1, 0.0) for _ in range(4))
    assert lane.troubled(0.1, 0.0)
    assert 1.0 < lane.blocked_until <= 2.0
    fill(lanes, "a", 10)
    assert not picked(lanes, 0.5)
    now = lane.blocked_until
    lanes.offer(lane, now)
    assert len(picked(lanes, now)) == 1, "a single probe"
    lanes.landed(lane, next(iter(lane.flying)))
    assert lane.troubled(0.1, now)
    assert lane.blocked_until - now > 2.0
    now = lane.blocked_until
    lanes.offer(lane, now)
    assert len(picked(lanes, now)) == 1
    lanes.landed(lane, next(iter(lane.flying)))
    lane.answered(0.1)
    lane.answered(0.1)
    lanes.offer(lane, now)
    assert len(picked(lanes, now)) > 1


def test_failures_that_were_on_the_way_when_the_breaker_opened_do_not_prolong_it() -> None:
    lane = Lanes(Limits()).lane("a")
    for _ in range(5):
        lane.troubled(0.1, 0.0)
    until = lane.blocked_until
    for _ in range(50):
        lane.troubled(0.1, until / 2)
    assert lane.blocked_until == until


@given(st.lists(st.sampled_from(["push-a", "push-b", "push-c", "land", "fail", "tick"]), max_size=200))
def test_no_task_is_lost_or_picked_twice_whatever_happens(steps: list[str]) -> None:
    lanes = Lanes(Limits(in_flight=6, first_limit=2, per_destination=3, slow_in_flight=3))
    now, pushed, out = 0.0, 0, []
    flying: list[tuple[Lane, Item]] = []
    for step in steps:
        now += 0.3
        if step.startswith("push"):
            fill(lanes, step[-1], 1, now)
            pushed += 1
        elif step in {"land", "fail"} and flying:
            lane, each = flying.pop(0)
            lanes.landed(lane, each)
            if step == "fail":
                lane.troubled(0.1, now)
            else:
                lane.answered(0.1)
            lanes.offer(lane, now)
        elif step == "tick":
            lanes.age(now)
        while (found := lanes.pick(now)) is not None:
            flying.append(found)
            out.append(found[1])
            assert lanes.young <= 6
    waiting = sum(len(lane.queue) for lane in lanes)
    assert waiting == lanes.queued
    assert len(set(out)) == len(out)
    assert len(out) + waiting == pushed


def test_unused_lanes_are_forgotten() -> None:
    lanes = Lanes(Limits())
    fill(lanes, "a", 1)
    lanes.lane("b")
    lanes.forget_idle(10.0)
    assert [lane.key for lane in lanes] == ["a"]
