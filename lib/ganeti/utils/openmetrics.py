"""Figures for monitoring: counted with plain numbers, sent as JSON, shown as OpenMetrics text.

A family is declared once (`Family`); its values are a list of samples. The text is made by the
prometheus_client library, which is loaded when somebody asks for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal

from ganeti.errors import ParseError
from ganeti.serializer import Json

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]
"""Suffix (`_bucket`, `_sum`…; empty for a plain value), labels, value."""

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LONG_SECONDS: Final = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Family:
    """Metrics of one name. Counters are named without `_total`."""

    name: str
    type: Literal["gauge", "counter", "histogram", "info"]
    help: str

    def shown(self, samples: Iterable[Sample]) -> dict[str, Json]:
        return {
            "name": self.name,
            "type": self.type,
            "help": self.help,
            "samples": [[suffix, dict(labels), value] for suffix, labels, value in samples],
        }

    @property
    def sample_names(self) -> tuple[str, ...]:
        """Names that the samples of this family have in the text."""
        suffixes = {
            "gauge": ("",),
            "counter": ("_total",),
            "histogram": ("_bucket", "_count", "_sum"),
            "info": ("_info",),
        }
        return tuple(self.name + suffix for suffix in suffixes[self.type])


class Histogram:
    """How often which value was seen; a number per bucket."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def samples(self, labels: Labels | None = None) -> list[Sample]:
        """Buckets that include those before them, as OpenMetrics wants it, and the sum."""
        own = dict(labels or {})
        ends = [*(f"{bound!r}" for bound in self.bounds), "+Inf"]
        counts = list(accumulate(self.counts))
        made: list[Sample] = [
            ("_bucket", {**own, "le": end}, count) for end, count in zip(ends, counts)
        ]
        return [*made, ("_count", own, counts[-1]), ("_sum", own, self.sum)]


def render(families: Iterable[Json]) -> bytes:
    """The OpenMetrics text of what `Family.shown` has made. ParseError when it is something else.

    https://prometheus.io/docs/specs/om/open_metrics_spec/
    """
    from prometheus_client.openmetrics import exposition

    text: bytes = exposition.generate_latest(  # type: ignore[no-untyped-call]  # the package's
        _Collected([_metric(one) for one in families])
    )
    return text


class _Collected:
    """What the library takes for a registry."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _metric(family: Json) -> Metric:
    from prometheus_client.core import Metric

    match family:
        case {"name": str(name), "type": str(kind), "help": str(text), "samples": list(samples)}:
            made = Metric(name, text, kind)
        case _:
            raise ParseError("metrics: a family with name, type, help and samples is expected")
    for sample in samples:
        match sample:
            case [str(suffix), dict(labels), (int() | float()) as value]:
                made.add_sample(name + suffix, labels, value)
            case _:
                raise ParseError(f"metrics: {name}: [suffix, labels, value] is expected")
    return made
