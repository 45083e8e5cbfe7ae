"""Long answers are made and encoded in small steps, and are the same as short ones."""

from __future__ import annotations

import asyncio
import itertools
import json

from ganeti.query.answer import FIRST_ROWS, MAX_PIECE, STEP_BYTES, STEP_CELLS, Answer, Form
from ganeti.query.fields import Field, number, other, text
from ganeti.query.order import nice_key
from ganeti.types import FieldStatus
from hypothesis import given
from hypothesis import strategies as st

FIELDS: list[Field[int]] = [
    number("n", "N", lambda row: row, "the number"),
    text("even", "Even", lambda row: None if row % 2 else "even", "whether it is even"),
    text("away", "Away", lambda row: FieldStatus.OFFLINE, "never there"),
]


def pieces_of(answer: Answer[int]) -> tuple[list[bytes], int]:
    """The pieces, and how often another task on the loop got its turn."""

    async def run() -> tuple[list[bytes], int]:
        turns = itertools.count()

        async def other_task() -> None:
            while True:
                next(turns)
                await asyncio.sleep(0)

        task = asyncio.create_task(other_task())
        pieces = [piece async for piece in answer.pieces()]
        task.cancel()
        return pieces, next(turns)

    return asyncio.run(run())


def test_cells_have_a_status_and_no_value_without_data() -> None:
    assert json.loads(json.dumps(Answer(FIELDS, [1, 2]).plain()["data"])) == [
        [[0, 1], [3, None], [4, None]],
        [[0, 2], [0, "even"], [4, None]],
    ]


def test_older_answers_are_bare_values() -> None:
    answer = Answer(FIELDS, [1, 2], form=Form.VALUES)
    assert answer.plain() == [[1, None, None], [2, "even", None]]
    assert json.loads(b"".join(pieces_of(answer)[0])) == answer.plain()


def test_pieces_of_any_answer_join_to_the_plain_one() -> None:
    for rows in (0, 1, FIRST_ROWS, FIRST_ROWS + 1, 5000):
        answer = Answer(FIELDS, range(rows))
        text_ = b"".join(pieces_of(answer)[0])
        assert json.loads(text_) == json.loads(json.dumps(answer.plain()))


def test_a_long_answer_lets_others_work_between_its_steps() -> None:
    pieces, turns = pieces_of(Answer(FIELDS, range(20_000)))
    assert max(map(len, pieces)) <= 2 * STEP_BYTES
    assert turns >= 20_000 * len(FIELDS) // STEP_CELLS


def test_a_huge_value_is_passed_on_in_pieces() -> None:
    huge: list[Field[int]] = [other("x", "X", lambda row: "y" * (3 * MAX_PIECE), "huge")]
    pieces, _ = pieces_of(Answer(huge, [1]))
    assert max(map(len, pieces)) <= MAX_PIECE
    assert json.loads(b"".join(pieces))["data"] == [[[0, "y" * (3 * MAX_PIECE)]]]


def test_numbers_in_names_are_compared_as_numbers() -> None:
    names = ["a10", "a2", "a1", "a", "b1", "a-1", "a02.x", "A1", "1a", "10a", "2a"]
    in_order = ["1a", "2a", "10a", "A1", "a", "a1", "a2", "a02.x", "a10", "a-1", "b1"]
    assert sorted(names, key=nice_key) == in_order


@given(
    st.lists(
        st.tuples(st.text("abx-.", min_size=1, max_size=3), st.integers(0, 10**12)), max_size=6
    )
)
def test_names_with_one_number_sort_by_text_then_number(parts: list[tuple[str, int]]) -> None:
    names = [f"{word}{number_}" for word, number_ in parts]
    by_parts = [f"{word}{number_}" for word, number_ in sorted(parts)]
    assert sorted(names, key=nice_key) == by_parts
