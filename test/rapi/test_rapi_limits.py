"""Rates of requests and waits after wrong passwords."""

from __future__ import annotations

from ganeti.rapi.limits import LONGEST_WAIT_S, Attempts, Guesses, Rates

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


def test_attempts_that_are_told_to_come_again_keep_no_place() -> None:
    guesses = Guesses()
    wrong(guesses, 9)
    waits = [guesses.wait_s(ADMIN, 0.0) for _ in range(1000)]
    assert max(waits) <= LONGEST_WAIT_S + Guesses.LONGEST_S
    assert guesses.wait_s(ADMIN, 60.0) == 0.0


# All names that are tried at an address.


def tried(attempts: Attempts, times: int) -> float:
    """What the next name has to wait for when each of so many was tried once."""
    for number in range(times):
        attempts.was_wrong((f"user{number}", ADMIN[1]), 0.0)
    return attempts.wait_s(("next", ADMIN[1]), 0.0)


def test_who_tries_many_names_waits_as_well() -> None:
    assert tried(Attempts(), Attempts.FREE_OF_ADDRESS - 1) == 0.0
    assert tried(Attempts(), Attempts.FREE_OF_ADDRESS) == Guesses.FIRST_S


def test_many_names_do_not_push_out_what_their_address_did() -> None:
    assert tried(Attempts(most=10), 1000) > 0.0


def test_names_tried_elsewhere_keep_nobody_waiting() -> None:
    attempts = Attempts()
    tried(attempts, 100)
    assert attempts.wait_s(OTHER, 0.0) == 0.0


def test_a_user_of_the_address_does_not_wait_for_strangers_there() -> None:
    attempts = Attempts()
    attempts.was_right(ADMIN)
    tried(attempts, 100)
    assert attempts.wait_s(ADMIN, 0.0) == 0.0
    attempts.was_wrong(ADMIN, 0.0)  # may be one of the strangers
    assert attempts.wait_s(ADMIN, 0.0) > 0.0


def test_an_attempt_that_its_address_sends_away_keeps_no_place_of_the_user() -> None:
    attempts = Attempts()
    tried(attempts, 100)
    for _ in range(9):
        attempts.was_wrong(ADMIN, 1.0)
    while attempts.wait_s(("next", ADMIN[1]), 1.0) <= LONGEST_WAIT_S:
        pass
    waits = [attempts.wait_s(ADMIN, 1.0) for _ in range(100)]
    assert min(waits) > LONGEST_WAIT_S
    assert attempts.wait_s(ADMIN, 1.0 + min(waits)) == 0.0


def test_a_right_password_does_not_free_the_address() -> None:
    attempts = Attempts()
    tried(attempts, 100)
    attempts.was_right(ADMIN)
    assert attempts.wait_s(("next", ADMIN[1]), 0.0) > 0.0


def test_the_memory_of_attempts_is_bounded() -> None:
    attempts = Attempts(most=10)
    for number in range(100):
        attempts.was_right((str(number), "x"))
        attempts.was_wrong(("admin", str(number)), 0.0)
    assert len(attempts) <= 30
