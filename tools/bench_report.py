"""The table that tools/bench prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench_figures import FIGURES, MACHINE, Values

Json = Any
UNITS = (("_per_s", "/s"), ("_s", "s"), ("_mib", "MiB"))


def report(result: Json) -> str:
    """All of it as text."""
    parts = [_machine(result), _figures(result), _beside(result), _growth(result), _end(result)]
    return "\n".join(line for part in parts for line in part) + "\n"


def amount(value: float | None) -> str:
    """With three significant digits, or as a whole number."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def unit(key: str) -> str:
    for end, name in UNITS:
        if key.endswith(end) or f"{end}_" in key:
            return name
    return ""


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Aligned columns; those in `right` by their end."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        yield "  ".join(cells).rstrip()


def _machine(result: Json) -> Iterator[str]:
    load = " to ".join(f"{one:.2f}" for one in result["load"])
    yield f"Machine: {result['cpus']} processors, Python {result['python']}, load average {load}"
    yield ""
    rows = [[MACHINE[key], amount(value), unit(key)] for key, value in result["machine"].items()]
    yield from table(rows, right=(1,))
    yield ""


def _figures(result: Json) -> Iterator[str]:
    yield f"Figures (median of {result['runs']}; × = multiple of the machine's own)"
    yield ""
    rows = [["figure", "value", "", "reach", "", "×", "3.0.2", "what"]]
    for figure in FIGURES:
        if figure.key not in result["figures"]:
            continue
        value = result["figures"][figure.key]
        met = figure.is_met(value)
        sign = "≥" if figure.more_is_better else "≤"
        times = figure.multiple(value, result["machine"])
        rows.append(
            [
                figure.key,
                amount(value),
                unit(figure.key),
                "" if figure.reach is None else f"{sign} {figure.reach:g}",
                "" if met is None else "ok" if met else "MISS",
                "" if times is None else amount(times),
                figure.classic,
                figure.what,
            ]
        )
    yield from table(rows, right=(1, 5))
    yield ""


def _beside(result: Json) -> Iterator[str]:
    if not result["per_job"]:
        return
    rows = [["per job of", "syncs", "bytes written", "calls"]]
    for key, counts in result["per_job"].items():
        rows.append([key, *(amount(counts[name]) for name in ("fsyncs", "bytes_written", "rpcs"))])
    yield from table(rows, right=(1, 2, 3))
    yield ""


def _growth(result: Json) -> Iterator[str]:
    sizes: dict[str, Values] = result["growth"]
    if not sizes:
        return
    keys = list(dict.fromkeys(key for values in sizes.values() for key in values))
    rows = [["growth with instances", *(f"{int(size):,}" for size in sizes)]]
    for key in keys:
        rows.append([key, *(amount(values.get(key)) for values in sizes.values())])
    yield from table(rows, right=range(1, len(sizes) + 1))
    yield ""


def _end(result: Json) -> Iterator[str]:
    for run in result["files"]:
        differing = run["differing"]
        verdict = f"{len(differing)} differ: {', '.join(differing[:5])}" if differing else "equal"
        yield f"Files of the candidates compared with the master's: {run['files']}, {verdict}"
    for problem in result["problems"]:
        yield f"Not measured: {problem}"
