"""How an error rate is stored, with 6 digits, and shown, with 4: everywhere by these functions."""


def stored_rate(rate: float) -> float:
    """Round a rate as the files of results, records and model cards hold it."""
    return round(rate, 6)


def shown_rate(rate: float, sign: str = "") -> str:
    """Write a rate with four digits, always from its stored value; `sign` "+" shows a plus too.

    So a rate that is printed when it is computed, and one that is read from a file later, are the
    same text: 0.12344996 is stored as 0.12345, and both are shown as 0.1235.
    """
    return f"{stored_rate(rate):{sign}.4f}"


def shown_bounds(bounds: list[float] | None) -> str:
    """Write both ends of an interval: `0.1346–0.2247`; a dash where there is none."""
    return "–" if bounds is None else "–".join(map(shown_rate, bounds))
