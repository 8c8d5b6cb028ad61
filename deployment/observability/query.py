"""The forms of query that many panels share."""

from __future__ import annotations

from deployment.observability.board import RATE, Query


def rates(series: str, *by: str, times: int = 1) -> Query:
    """A line for each value of the labels ``by``; ``times`` 60: a minute."""
    factor = f" * {times}" if times != 1 else ""
    return Query(f"sum by ({', '.join(by)}) (rate({series}[{RATE}])){factor}", _legend(by))


def sums(series: str, *by: str) -> Query:
    return Query(f"sum by ({', '.join(by)}) ({series})", _legend(by))


def highest(series: str, *by: str) -> Query:
    return Query(f"max by ({', '.join(by)}) ({series})", _legend(by))


def quantiles(histogram: str, *by: str, shares: tuple[float, ...] = (0.5, 0.95, 0.99)) -> tuple[Query, ...]:
    """``histogram``: the selector of its buckets. A line for each share, and each value of the labels ``by``."""
    labels = ", ".join((*by, "le"))
    return tuple(
        Query(
            f"histogram_quantile({share:g}, sum by ({labels}) (rate({histogram}[{RATE}])))",
            " ".join(filter(None, (f"p{share * 100:g}", _legend(by)))),
        )
        for share in shares
    )


def _legend(by: tuple[str, ...]) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in by)
