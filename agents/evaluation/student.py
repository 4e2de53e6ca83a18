"""Student's t distribution, by mpmath's incomplete beta function."""

import math
from functools import lru_cache
from statistics import NormalDist

Z_95 = NormalDist().inv_cdf(0.975)


def t_two_sided_p(t: float, df: int) -> float:
    """Return the probability of a value at least as far from 0 as ``t``.

    P(|T| >= t) = I_x(df/2, 1/2) with x = df / (df + t^2) (Abramowitz and Stegun, 26.5.27).

    Args:
        t: the statistic; its sign does not matter.
        df: degrees of freedom, at least 1.
    """
    import mpmath  # 60 ms to load, so only where a test is made

    if math.isinf(t):
        return 0.0
    x = df / (df + t * t)
    return float(mpmath.betainc(df / 2, 0.5, 0, x, regularized=True))


@lru_cache(maxsize=1024)
def t_critical(df: int, *, two_sided: float = 0.05) -> float:
    """Return the t beyond which lies a share ``two_sided``, both tails together.

    Found by bisection of :func:`t_two_sided_p`, to 1e-10.
    """
    if df < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {df}.")
    low, high = 0.0, 2.0
    while t_two_sided_p(high, df) > two_sided:
        low, high = high, high * 2
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        if t_two_sided_p(middle, df) > two_sided:
            low = middle
        else:
            high = middle
    return (low + high) / 2
