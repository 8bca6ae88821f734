"""Mean over seeds, with the standard deviation and the number of runs."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

DIGITS = 6  # in which equal values agree: accuracies of networks are computed in float32


@dataclass(frozen=True)
class Estimate:
    """Mean, standard deviation of a single run (n - 1 in the denominator; None for one run), and number of runs."""

    mean: float
    sd: float | None
    n: int

    def __str__(self) -> str:
        """Return `0.735 ± 0.012`: two digits of the spread, the mean to the same place; for one run no spread."""
        if not self.sd or not math.isfinite(self.sd):
            return rounded(self.mean) if self.sd is None else f"{rounded(self.mean)} ± {self.sd:.2g}"
        places = max(0, 1 - math.floor(math.log10(self.sd)))
        if places > 7 or abs(self.mean) >= 1e9:
            return f"{self.mean:.4g} ± {self.sd:.2g}"
        return f"{self.mean:,.{places}f} ± {self.sd:,.{places}f}"


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return the mean of these values with its spread; None for no values."""
    if not values:
        return None
    spread = statistics.stdev(values) if len(values) > 1 else None
    try:
        mean = math.fsum(values) / len(values)
    except OverflowError:  # the sum of numbers near the largest; fractions have no largest, and take their time
        mean = statistics.mean(values)
    return Estimate(mean, spread, len(values))


def in_digits(value: float) -> float:
    """Return the value in DIGITS significant digits, by which methods are compared."""
    return float(f"{value:.{DIGITS}g}")


def rounded(value: float, digits: int = 4) -> str:
    """Return a number with `digits` significant digits; large whole numbers are written in full."""
    return f"{value:,.0f}" if 10**digits <= abs(value) < 1e9 else f"{value:.{digits}g}"
