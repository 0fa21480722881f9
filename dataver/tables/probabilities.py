"""How likely differences as large as those found are where nothing differs: two tails, without scipy."""

from __future__ import annotations

import math

import numpy as np

_STIRLING_FROM = 100
_TINY = 1e-300
_PRECISION = 1e-16
_SCALE_FROM = 2.0**500


def chi_square_tail(statistic: float, freedom: int) -> float:
    """The probability that a chi-square of so many degrees of freedom is at least `statistic`."""
    if freedom < 1 or statistic <= 0:
        return 1.0
    return 0.0 if math.isinf(statistic) else upper_gamma(freedom / 2, statistic / 2)


def upper_gamma(a: float, x: float) -> float:
    """The regularised upper incomplete gamma function Q(a, x), for a > 0.

    A power series below a + 1 and a continued fraction above it; both converge in some sqrt(a) steps.
    """
    if x <= 0:
        return 1.0
    front = math.exp(_log_front(a, x))
    rounds = 1000 + 20 * math.isqrt(int(a) + 1)
    if x < a + 1:
        term = total = 1 / a
        for step in range(1, rounds):
            term *= x / (a + step)
            total += term
            if term < total * _PRECISION:
                break
        return min(1.0, max(0.0, 1 - front * total))
    # Lentz's way to evaluate a continued fraction from the front.
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    fraction = d
    for step in range(1, rounds):
        factor = step * (a - step)
        b += 2
        d = 1 / _away_from_zero(factor * d + b)
        c = _away_from_zero(b + factor / c)
        fraction *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return min(1.0, front * fraction)


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_front(a: float, x: float) -> float:
    """log(x^a e^-x / Gamma(a)); for large a by Stirling's series, in which nothing large cancels."""
    if a < _STIRLING_FROM:
        return a * math.log(x) - x - math.lgamma(a)
    apart = (x - a) / a
    ratio = math.log1p(apart) if x > a / 2 else math.log(x) - math.log(a)
    series = 1 / (12 * a) - 1 / (360 * a**3) + 1 / (1260 * a**5)
    return a * (ratio - apart) + math.log(a / (2 * math.pi)) / 2 - series


def kolmogorov_tail(distance: float, a: int, b: int) -> float:
    """The exact probability that two samples of `a` and `b` values of one distribution are so far apart.

    Two-sided; counts the walks from one corner of an a by b grid to the other that stay closer to the
    diagonal than `distance`. Takes a * b steps at most.
    """
    a, b = min(a, b), max(a, b)
    limit = round(distance * a * b)
    if limit <= 0 or not a:
        return 1.0
    places = np.arange(b + 1, dtype=np.int64) * a
    walks = (places < limit).astype(np.float64)
    exponent = 0
    for step in range(1, a + 1):
        # Places nearer to the diagonal than the limit are neighbours: those from `first` to `last`.
        first = int(np.searchsorted(places, step * b - limit, side="right"))
        last = int(np.searchsorted(places, step * b + limit, side="left"))
        walks[first:last] = np.cumsum(walks[first:last])
        walks[:first] = 0.0
        walks[last:] = 0.0
        if first == last:
            return 1.0
        if walks[last - 1] > _SCALE_FROM:
            shift = math.frexp(float(walks[last - 1]))[1]
            walks = np.ldexp(walks, -shift)
            exponent += shift
    if not walks[b]:
        return 1.0
    all_walks = math.lgamma(a + b + 1) - math.lgamma(a + 1) - math.lgamma(b + 1)
    inside = math.exp(math.log(float(walks[b])) + exponent * math.log(2) - all_walks)
    return min(1.0, max(0.0, 1 - inside))
