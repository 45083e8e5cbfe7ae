"""Rates of requests and waits after wrong passwords."""

from __future__ import annotations

from ganeti.rapi.limits import Guesses, Rates

ADMIN = ("admin", "192.0.2.1")
OTHER = ("admin", "192.0.2.2")


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    rates = Rates(per_second=10, burst_s=2)
    assert [rates.wait_s(ADMIN, 0.0) for _ in range(20)] == [0.0] * 20
    assert rates.wait_s(ADMIN, 0.0) == 0.1
    assert rates.wait_s(ADMIN, 0.1) == 0.0
    assert rates.wait_s(ADMIN, 0.1) > 0


def test_users_and_addresses_are_counted_apart() -> None:
    rates = Rates(per_second=1, burst_s=1)
    assert rates.wait_s(ADMIN, 0.0) == 0.0
    assert rates.wait_s(ADMIN, 0.0) > 0
    assert rates.wait_s(OTHER, 0.0) == 0.0


def test_the_memory_of_rates_is_bounded() -> None:
    rates = Rates(per_second=1, most=10)
    for number in range(100):
        rates.wait_s((str(number), "x"), 0.0)
    assert len(rates) == 10


def wrong(guesses: Guesses, times: int, now: float = 0.0) -> list[float]:
    waits = []
    for _ in range(times):
        waits.append(guesses.wait_s(ADMIN, now))
        guesses.was_wrong(ADMIN, now)
    return waits


def test_waits_grow_with_wrong_passwords_up_to_a_limit() -> None:
    guesses = Guesses()
    assert wrong(guesses, 3) == [0.0, 0.0, 0.0]
    now, waits = 0.0, []
    for _ in range(8):
        wait = guesses.wait_s(ADMIN, now)
        now += wait
        guesses.was_wrong(ADMIN, now)
        waits.append(wait)
    assert waits == [0.5, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_attempts_at_the_same_time_wait_for_each_other() -> None:
    guesses = Guesses()
    wrong(guesses, 3)
    waits = [guesses.wait_s(ADMIN, 0.0) for _ in range(5)]
    assert waits == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_other_addresses_do_not_wait() -> None:
    guesses = Guesses()
    wrong(guesses, 9)
    assert guesses.wait_s(OTHER, 0.0) == 0.0


def test_a_right_password_or_time_ends_the_waiting() -> None:
    guesses = Guesses()
    wrong(guesses, 9)
    guesses.was_right(ADMIN)
    assert guesses.wait_s(ADMIN, 0.0) == 0.0
    wrong(guesses, 9)
    assert guesses.wait_s(ADMIN, Guesses.FORGOTTEN_S + 1) == 0.0


def test_the_memory_of_guesses_is_bounded() -> None:
    guesses = Guesses(most=10)
    for number in range(100):
        guesses.was_wrong((str(number), "x"), 0.0)
    assert len(guesses) == 10
