"""The breaker: a dead node costs its deadline once."""

from __future__ import annotations

from ganeti.rpc.health import LONGEST_PAUSE_S, Health
from hypothesis import given
from hypothesis import strategies as st


def test_a_node_is_called_until_it_costs_time() -> None:
    health = Health()
    assert health.refusal("n", 0) is None
    health.failed("n", 0.1, 0.1, "connection refused")
    assert health.refusal("n", 0.2) is None


def test_a_dead_node_is_left_alone_for_a_while() -> None:
    health = Health()
    health.failed("n", 5, 5, "can't connect")
    assert health.refusal("n", 6) == "can't connect (not tried again for 1 s)"


def test_one_call_probes_when_the_pause_is_over() -> None:
    health = Health()
    health.failed("n", 5, 5, "can't connect")
    assert health.refusal("n", 8) is None
    assert health.refusal("n", 8) == "can't connect (being tried again)"


def test_success_of_the_probe_closes_the_breaker() -> None:
    health = Health()
    health.failed("n", 5, 5, "can't connect")
    health.refusal("n", 8)
    health.succeeded("n")
    assert health.refusal("n", 8) is None and health.refusal("n", 8) is None


def test_pauses_grow_with_the_outage_up_to_a_limit() -> None:
    health = Health()
    now = 5.0
    pauses = []
    for _ in range(30):
        health.failed("n", now, 5, "dead")
        began = now
        while health.refusal("n", now) is not None:
            now += 0.25
        pauses.append(now - began)
        now += 5  # what the probe takes
    assert pauses[:5] == [2, 2, 3.5, 5.75, 8.5] and pauses[-1] == LONGEST_PAUSE_S
    health.succeeded("n")
    health.failed("n", now, 5, "dead")
    assert health.refusal("n", now + 2) is None


def test_calls_that_were_on_their_way_do_not_make_it_worse() -> None:
    health = Health()
    for _ in range(20):
        health.failed("n", 5, 5, "dead")
    assert health.refusal("n", 7.1) is None


def test_a_cancelled_probe_lets_the_next_one_through() -> None:
    health = Health()
    health.failed("n", 5, 5, "dead")
    assert health.refusal("n", 8) is None
    health.given_up("n")
    assert health.refusal("n", 8) is None


def test_a_changed_node_is_tried_at_once() -> None:
    health = Health()
    health.failed("n", 5, 5, "dead")
    health.forget("n")
    assert health.refusal("n", 5) is None


@given(st.lists(st.tuples(st.sampled_from("ask ok slow quick drop".split()), st.floats(0, 30))))
def test_whatever_happens_a_node_is_tried_again_within_a_minute(
    events: list[tuple[str, float]],
) -> None:
    health, now = Health(), 0.0
    probing = False
    for event, pause in events:
        now += pause
        if event == "ask":
            probing = probing or health.refusal("n", now) is None
        elif event == "ok":
            health.succeeded("n")
            probing = False
        elif event == "drop":
            health.given_up("n")
            probing = False
        else:
            health.failed("n", now, 5.0 if event == "slow" else 0.0, "dead")
            probing = False
    if not probing:
        assert health.refusal("n", now + LONGEST_PAUSE_S) is None
