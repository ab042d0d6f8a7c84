"""Numbers as the figures write them."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MINUS = "\u2212"


def number(value: float, digits: int = 2) -> str:
    """A number for a label or a sentence: `digits` significant ones, powers of ten as such.

    >>> number(0.9087), number(3.2e-6), number(1e-11)
    ('0.91', '3.2\u00b710\u207b\u2076', '10\u207b\u00b9\u00b9')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(value)))
    if -3 <= exponent < 6:
        return f"{value:.{digits}g}".replace("-", MINUS)
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    power_of_ten = "10" + str(int(power)).translate(_SUPERSCRIPTS)
    if abs(float(mantissa)) == 1:
        return power_of_ten if value > 0 else MINUS + power_of_ten
    return f"{mantissa}\u00b7{power_of_ten}".replace("-", MINUS)
