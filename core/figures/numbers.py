"""One way to write each kind of number, in figures, tables and sentences alike. Missing values read "–"."""

from __future__ import annotations

import math
from collections.abc import Callable

MISSING = "–"
MINUS = "−"
GAP = "\u00a0"
"""Between a number's thousands, and before its %: a line must not break there."""


def _missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


def _bare(value: float, digits: int = 3) -> str:
    """A number without its leading zero, as the field writes AUCs and correlations: .572, −.041, 1.000."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:  # no "−.000"
        text = f"{0:.{digits}f}"
    return _signed(text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text)


def accuracy(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A fraction as per cent: 0.832 → "83.2 %", with an interval "83.2 % [79.7, 86.2]"."""
    if value is None or _missing(value):
        return MISSING
    text = f"{_signed(f'{100 * value:.1f}')}{GAP}%"
    if low is None or high is None or _missing(low) or _missing(high):
        return text
    return f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def auc(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """An AUC, with its interval where both ends are given: ".572 [.531, .613]"."""
    if value is None or _missing(value):
        return MISSING
    if low is None or high is None or _missing(low) or _missing(high):
        return _bare(value)
    return f"{_bare(value)} [{_bare(low)}, {_bare(high)}]"


def correlation(value: float | None) -> str:
    """A correlation coefficient: ".941"."""
    return MISSING if value is None or _missing(value) else _bare(value)


def count(part: int | None, whole: int | None = None) -> str:
    """A count of a total: "3 / 500"; thousands are set apart."""
    if part is None:
        return MISSING
    return f"{part:,}".replace(",", GAP) + ("" if whole is None else f" / {whole:,}".replace(",", GAP))


def p_value(value: float | None) -> str:
    """A p-value with its relation: "p = .031", "p < .001"."""
    if value is None or _missing(value):
        return MISSING
    return "p < .001" if value < 0.001 else f"p = {_bare(value)}"


def fraction(value: float | None) -> str:
    """A fraction as per cent with two significant digits, for r from 0.01 % to 50 %: "0.01 %", "5 %"."""
    if value is None or _missing(value):
        return MISSING
    percent = float(f"{100 * value:.2g}")
    return f"{_signed(f'{percent:.10f}'.rstrip('0').rstrip('.'))}{GAP}%"


def points(value: float | None) -> str:
    """A difference of two accuracies (as fractions) in percentage points, signed: "−1.4 points"."""
    if value is None or _missing(value):
        return MISSING
    rounded = round(100 * value, 1)
    return "±0.0 points" if rounded == 0 else _signed(f"{rounded:+.1f} points")


def difference(value: float | None) -> str:
    """A difference of two AUCs, signed: "−.041", "+.012"."""
    if value is None or _missing(value):
        return MISSING
    text = _bare(value)
    return text if value < 0 and float(f"{value:.3f}") != 0 else f"+{text}"


def seconds(value: float | None) -> str:
    """A duration in the two largest units that matter: "40 ms", "2.4 s", "1 min 20 s", "2 h 5 min"."""
    if value is None or _missing(value):
        return MISSING
    if value < 0.995:
        return f"{1000 * value:.0f} ms"
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def weights(value: float | None) -> str:
    """A number of weights: "640", "66.1 k", "11.2 M"."""
    if value is None or _missing(value):
        return MISSING
    for size, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size * 0.99995:  # 999 960 is "1.0 M", not "1000.0 k"
            return f"{value / size:.1f}{suffix}"
    return f"{value:.0f}"


def plain(value: float | None) -> str:
    """Any other number, three significant digits."""
    return MISSING if value is None or _missing(value) else _signed(f"{value:.3g}")


_BY_UNIT: dict[str, Callable[[float | None], str]] = {
    "%": accuracy,
    "AUC": auc,
    "weights": weights,
    "s": seconds,
    "r": correlation,
}


def in_unit(value: float | None, unit: str) -> str:
    """A value in the house format of its unit ("%" takes fractions); other units are written behind it."""
    if unit in _BY_UNIT:
        return _BY_UNIT[unit](value)
    return f"{plain(value)} {unit}".rstrip()


def power_of_ten(exponent: float) -> str:
    """A tick label: 10 to a whole power, for axes that carry log10 values."""
    return f"10<sup>{_signed(f'{exponent:g}')}</sup>"
