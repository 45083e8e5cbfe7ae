"""Regular expressions that people give, searched within a time limit.

Some patterns take years on some texts (`(x|x)*y`), and the master can't wait so long. The syntax is
that of `re`; the `regex` package, which has a timeout, is imported when something is searched: the
programs that only check a pattern start faster without it.
"""

import re
import time

from ganeti.errors import ParameterError

LIMIT_S = 0.5  # for all texts of one question; a thousand names take a few milliseconds


def pattern_problem(pattern: str) -> str:
    """What is wrong with a regular expression; empty when nothing is."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        return str(error)
    except RecursionError:
        return "it is nested too deeply"
    return ""


class TooSlow(ParameterError):
    """A search was given up: whether the pattern is found is not known."""


class Finder:
    """A pattern, which `pattern_problem` has passed, and the time that is left for it."""

    __slots__ = ("_left_s", "_limit_s", "_pattern")

    def __init__(self, pattern: str, limit_s: float = LIMIT_S) -> None:
        self._pattern = pattern
        self._limit_s = self._left_s = limit_s

    def is_in(self, text: str) -> bool:
        """Whether the pattern is found; TooSlow once all searches took too long."""
        import regex

        began = time.monotonic()
        try:
            if self._left_s <= 0.0:
                raise TimeoutError
            found = regex.search(self._pattern, text, timeout=self._left_s)
        except TimeoutError:
            self._left_s = 0.0
            raise TooSlow(
                f"regular expression {self._pattern!r} takes more than {self._limit_s:g} s; write"
                " it without repetitions of repetitions, such as (a+)+"
            ) from None
        except regex.error as error:
            raise ParameterError(f"regular expression {self._pattern!r}: {error}") from error
        self._left_s -= time.monotonic() - began
        return found is not None
