"""Shadows bound distances from below, whatever the inputs; close to it for smooth images."""

import numpy as np
import pytest

from gamekeeper.detectors.shadows import at_least, layout, shadows, width
from gamekeeper.detectors.shapiro_wilk import quantiles

SHAPES = [(1, 28, 28), (3, 9, 17), (8, 5, 5), (64,), (200,), (1,), (2, 3), ()]


def squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distances in long double."""
    return np.square(x[:, None].astype(np.longdouble) - y[None]).sum(2)


def inputs(kind: str, n: int, d: int) -> np.ndarray:
    draw = np.random.default_rng(d)
    x = draw.random((n, d))
    if kind == "close":  # all but copies
        x = x[:1] + 1e-6 * x
    if kind == "scales":
        x *= 10.0 ** draw.integers(-15, 15, (n, 1))
    if kind == "constant":
        x[:] = x[:, :1]
    if kind == "zeros":
        x[::2] = 0
    return x


@pytest.mark.parametrize("kind", ["random", "close", "scales", "constant", "zeros"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_holds(kind: str, shape: tuple[int, ...], dtype: type):
    x = inputs(kind, 40, int(np.prod(shape))).astype(dtype)
    mine = shadows(x, shape)
    assert mine.shape == (40, width(shape))
    assert (at_least(mine[:20], mine[20:]) <= squares(x[:20], x[20:])).all()


@pytest.mark.parametrize("shape", [(12, 12), (144,), (4, 12, 12)], ids=str)
def test_it_is_the_distance_where_all_coefficients_are_taken(shape: tuple[int, ...]):
    x = inputs("random", 30, int(np.prod(shape)))
    mine = shadows(x, shape)
    assert np.allclose(at_least(mine, mine)[1:, 0], squares(x, x).astype(float)[1:, 0], rtol=1e-9)


def test_smooth_images_are_told_apart():
    waves = np.sin(np.arange(28) / np.random.default_rng(0).uniform(3, 9, (20, 1)))
    x = (waves[:, :, None] * waves[:, None]).reshape(20, -1)
    mine, apart = shadows(x, (1, 28, 28)), ~np.eye(20, dtype=bool)
    assert (at_least(mine, mine)[apart] > 0.9 * squares(x, x)[apart]).all()


def test_a_bound_that_overflows_is_unknown():
    x = inputs("random", 4, 64).astype(np.float32)
    x[1] *= 1e30
    x[2] *= 5e18
    with np.errstate(over="ignore", invalid="ignore"):
        bounds = at_least(shadows(x, (64,)), shadows(x, (64,)))
        assert not (bounds > squares(x, x)).any()
        assert np.isnan(bounds[1]).all()
        assert bounds[0, 3] > 0


def test_feature_maps_are_rows_of_numbers():
    assert layout((512, 7, 7)) == (1, 1, 25_088, 196)
    assert layout((3, 32, 32)) == (3, 32, 32, 14)


@pytest.mark.parametrize("n", [6, 100, 511, 512, 1_023, 1_279, 9_999, 20_001])
def test_quantiles_of_a_near_size_will_do(n: int):
    from scipy.stats import norm

    exact = norm.ppf((np.arange(1, n // 2 + 1) - 0.375) / (n + 0.25))
    assert np.abs(quantiles(n) - exact).max() < 1e-10
