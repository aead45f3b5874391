"""The Winograd schemes themselves: that they are convolutions, how well they round, and what the tile kernels make of
them, piece by piece, against the plain formulas."""

import numpy as np
import pytest

from tinyfer.kernels import schemes, tiles
from tinyfer.kernels.compile import LANES
from tinyfer.kernels.simd import FILTER, FILTER_GRADIENT, winograd_matrices
from tinyfer.kernels.winograd import tile_table
from tinyfer.reference import conv2d_forward

SCHEMES = [(2, 3), (3, 3), (4, 3), (2, 5)]
# Root mean square error in float32 on 64 channels, relative to that of direct convolution, at most.
ERROR = {(2, 3): 1, (3, 3): 1.1, (4, 3): 3, (2, 5): 2}


def scheme(x, w, m, r, dtype, points=()):
    """A^T [sum over channels of (G w G^T) (B^T x B)] A for tiles x (tiles, C, n, n), w (C, r, r), step by step."""
    at, g, bt = (matrix.astype(dtype) for matrix in winograd_matrices(m, r, points))
    frequencies = bt @ x.astype(dtype) @ bt.T
    total = np.zeros((len(x), m + r - 1, m + r - 1), dtype)
    for c, u in enumerate(g @ w.astype(dtype) @ g.T):
        total += frequencies[:, c] * u
    return at @ total @ at.T


def direct(x, w, m, r, dtype):
    y = np.zeros((len(x), m, m), dtype)
    for c in range(x.shape[1]):
        for i in range(r):
            for j in range(r):
                y += x[:, c, i : i + m, j : j + m].astype(dtype) * w[c, i, j].astype(dtype)
    return y


def rms(a):
    return float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))


@pytest.mark.parametrize("m,r", SCHEMES)
def test_the_matrices_make_a_convolution(m, r):
    at, g, bt = winograd_matrices(m, r)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((m + r - 1, m + r - 1)), rng.standard_normal((r, r))
    exact = conv2d_forward(x[None, :, :, None], w[:, :, None, None], np.zeros(1), 1, 0)[0, :, :, 0]
    np.testing.assert_allclose(at @ ((g @ w @ g.T) * (bt @ x @ bt.T)) @ at.T, exact, rtol=0, atol=1e-13)


@pytest.mark.parametrize("m,r", SCHEMES)
def test_rounding_errors_beside_direct_convolution(m, r):
    rng = np.random.default_rng(0)
    n = m + r - 1
    x = np.maximum(rng.standard_normal((200, 64, n, n), np.float32), 0)
    w = rng.standard_normal((64, r, r), np.float32) / np.float32(r * 8)
    exact = direct(x, w, m, r, np.float64)
    error = rms(scheme(x, w, m, r, np.float32) - exact)
    ratio = error / rms(direct(x, w, m, r, np.float32) - exact)
    assert ratio <= ERROR[m, r], f"F({m}, {r}): {ratio:.2f} times the error of direct convolution"
    if n > 4:  # beside the points that are usually taken
        usual = rms(scheme(x, w, m, r, np.float32, (0, 1, -1, 2, -2)[: n - 1]) - exact)
        assert error < 0.55 * usual


@pytest.mark.parametrize("m,r", SCHEMES)
def test_the_points_are_exact_in_binary(m, r):
    """So B^T and A^T lose nothing when they are rounded to float32."""
    at, _, bt = winograd_matrices(m, r)
    assert np.array_equal(at, at.astype(np.float32)) and np.array_equal(bt, bt.astype(np.float32))


@pytest.mark.parametrize("height,width,side,want", [
    (48, 48, 3, 4), (44, 44, 3, 4), (12, 12, 3, 4), (6, 6, 3, 3), (5, 5, 3, 3), (3, 3, 3, 3), (24, 24, 5, 2)])
def test_the_tile_is_the_one_with_the_fewest_products(height, width, side, want):
    assert schemes.winograd_tile(side, height, width) == want


def test_one_tile_size_can_be_forced(monkeypatch):
    for size in (2, 3, 4):
        monkeypatch.setenv("TINYFER_WINOGRAD", str(size))
        monkeypatch.setattr(schemes, "TILE_SIZES", schemes._tile_sizes())
        assert {schemes.winograd_tile(3, side, side) for side in range(2, 49)} == {size}
        assert schemes.answering_tile(1, 3, 6, 6, 512, 512) == schemes.answering_tile(64, 3, 48, 48, 64, 64) == size
        assert schemes.winograd_tile(5, 24, 24) == schemes.answering_tile(1, 5, 24, 24, 64, 64) == 2
    monkeypatch.setenv("TINYFER_WINOGRAD", "5")
    with pytest.raises(ValueError, match="TINYFER_WINOGRAD is '5': use 2, 3 or 4"):
        schemes._tile_sizes()


@pytest.mark.parametrize("height,width,tile,side,pad", [
    (5, 7, 4, 6, 1), (6, 6, 3, 5, 1), (4, 5, 2, 6, 2), (3, 2, 1, 1, 0)])
def test_a_tile_table_says_where_each_pixel_lies(height, width, tile, side, pad):
    channels, across = 3, -(-width // tile)
    entries = np.stack(tile_table(height, width, channels, tile, side, pad), -1).reshape(-1, side, side, 4)
    for t, window in enumerate(entries):
        for i in range(side):
            for j in range(side):
                y, x = t // across * tile - pad + i, t % across * tile - pad + j
                offset, pooled, tap, inside = window[i, j]
                assert inside == (-1 if 0 <= y < height and 0 <= x < width else 0)
                if inside:
                    assert offset == (y * width + x) * channels
                if inside and y // 2 < height // 2 and x // 2 < width // 2:
                    assert pooled == (y // 2 * (width // 2) + x // 2) * channels and tap == y % 2 * 2 + x % 2
                else:
                    assert tap == 255


@pytest.mark.skipif(not LANES, reason="plain Numba has no tile kernels")
@pytest.mark.parametrize("m,r", SCHEMES)
@pytest.mark.parametrize("matrix,way", [(FILTER, "there"), (FILTER_GRADIENT, "back")])
def test_filters_are_transformed_there_and_back(m, r, matrix, way):
    from tinyfer.kernels.winograd import transform_filters

    _, g, _ = winograd_matrices(m, r)
    n, c, k = m + r - 1, 3, 2 * LANES
    side, made = (r, n) if way == "there" else (n, r)
    x = np.random.default_rng(0).standard_normal((side, side, c, k), np.float32)
    out = np.empty((made, made, c, k), np.float32)
    transform_filters(tiles.filter_transformer(matrix, m, r), c, k, x.reshape(-1), side * c * k, c * k,
                      out.reshape(-1), c * k, k)
    g = g if way == "there" else g.T
    np.testing.assert_allclose(out, np.einsum("ai,ijck,bj->abck", g, x.astype(float), g), rtol=0, atol=1e-5)


@pytest.mark.skipif(not LANES, reason="plain Numba has no tile kernels")
def test_products_of_every_number_of_rows_and_stretches():
    """du[f] = v[f]^T z[f], and += : each way of tiling the rows, sums longer than a stretch, panels in groups."""
    from tinyfer.kernels.winograd import GAP, add_products, chunk_gaps

    frequencies, panels, panel = 2, 3, LANES
    outputs, rng = panels * panel, np.random.default_rng(0)
    for channels, count in ((1, 1), (2, 3), (6, tiles.STRETCH), (8, 5), (13, 2 * tiles.STRETCH + 1)):
        v_gap, z_gap = chunk_gaps(count, channels, outputs)
        v = rng.standard_normal((frequencies, v_gap), np.float32)
        z = rng.standard_normal((frequencies, z_gap), np.float32)
        du = np.full((frequencies, channels, outputs), np.nan, np.float32)
        a = v[:, : count * (channels + GAP)].reshape(frequencies, count, channels + GAP)[:, :, :channels]
        b = z[:, : count * outputs].reshape(frequencies, panels, count, panel)
        want = np.einsum("ftc,fptk->fcpk", a.astype(float), b).reshape(du.shape)
        for times, add in enumerate((False, True, True), 1):
            add_products(tiles.multiplier(panel), frequencies, 2, panel, channels, outputs, count, v.reshape(-1), v_gap,
                         z.reshape(-1), z_gap, du.reshape(-1), add)
            np.testing.assert_allclose(du, times * want, rtol=0, atol=1e-5 * times * count**0.5)
