"""A small antialiased painter in grey: smooth curves in, shaded pixels out.

A `Drawing` is a list of shapes, the same list for a whole batch of N pictures, each picture with its own points and
styles (a shape of opacity 0 is skipped). Points are in picture units that `Drawing.place` maps to pixels. Shapes are
painted in order, each one of
  fill    the inside of a closed smooth curve,
  stroke  a line whose half width varies along it,
  glow    a soft round patch, brightest in the middle, that multiplies what lies beneath (shading).
`tone` is a grey in 0..1 that covers, `shade` a factor - 1 that multiplies (-0.3: 30 % darker).
Geometry is NumPy over the batch; only the pixels are a compiled loop.
"""

import numpy as np

from tinyfer.kernels.compile import kernel

FILL, STROKE, GLOW = 0, 1, 2
FREE, MAKE_MASK, INSIDE = 0, 1, 2   # clip modes: none; remember this fill's inside; only inside what is remembered
VALUE, OPACITY, MULTIPLY, SOFT, RIM, RIM_WIDTH, SLOPE_X, SLOPE_Y = range(8)   # the columns of a style
ZERO, HALF, ONE, TWO, THREE = (np.float32(v) for v in (0, 0.5, 1, 2, 3))   # single precision throughout the pixels
TINY, FAR = np.float32(1e-9), np.float32(1e12)


def spline(points: np.ndarray, closed: bool, pieces: int) -> np.ndarray:
    """Catmull-Rom curve through points (N,K,D) -> (N,M,D) with `pieces` straight pieces between neighbours."""
    if closed:
        before, after, far = np.roll(points, 1, 1), np.roll(points, -1, 1), np.roll(points, -2, 1)
        start = points
    else:
        start, after = points[:, :-1], points[:, 1:]
        before = np.concatenate([2 * points[:, :1] - points[:, 1:2], points[:, :-2]], 1)
        far = np.concatenate([points[:, 2:], 2 * points[:, -1:] - points[:, -2:-1]], 1)
    t = (np.arange(pieces) / pieces).astype(points.dtype)[:, None]
    start, after, before, far = (a[:, :, None, :] for a in (start, after, before, far))
    curve = start + 0.5 * t * (after - before + t * (2 * before - 5 * start + 4 * after - far
                                                     + t * (3 * (start - after) + far - before)))
    curve = curve.reshape(len(points), -1, points.shape[2])
    return curve if closed else np.concatenate([curve, points[:, -1:]], 1)


def stack(points, n: int) -> np.ndarray:
    """A sequence of K tuples whose entries are numbers or arrays (N,) -> array (N,K,D)."""
    return np.stack([np.stack([np.broadcast_to(np.asarray(v, np.float64), (n,)) for v in p], -1) for p in points], 1)


class Drawing:
    """Shapes for N pictures; `place` gives where picture units lie: pixel = origin + scale * point (arrays (N,))."""

    def __init__(self, origin_x, origin_y, scale, *, detail: float = 1.0, blur=0.0):
        self.n = len(scale)
        self.origin = np.stack([origin_x, origin_y], -1)[:, None, :]
        self.scale = np.asarray(scale, np.float64)
        self.blur = np.broadcast_to(np.asarray(blur, np.float64), (self.n,))
        self.detail = detail
        self.points, self.styles, self.table = [], [], []
        self.count = 0

    def pieces(self, segments: int) -> int:
        """How finely to cut a curve of so many segments: enough for the picture's size, no more."""
        return int(np.clip(np.ceil(self.detail * 20 / segments), 2, 10))

    def _add(self, kind, points, widths, clip, value, opacity, multiply, soft, rim, rim_width, slope):
        xy = self.origin + self.scale[:, None, None] * points
        widths = np.broadcast_to(widths * self.scale[:, None], xy.shape[:2])
        self.points.append(np.concatenate([xy, widths[:, :, None]], 2).astype(np.float32))
        style = np.empty((self.n, 8), np.float32)
        style[:, VALUE], style[:, OPACITY], style[:, MULTIPLY] = value, opacity, multiply
        # an edge is never sharper than one pixel: that is the antialiasing
        style[:, SOFT] = np.maximum(1.0, np.hypot(soft * self.scale, self.blur))
        style[:, RIM], style[:, RIM_WIDTH] = rim, np.maximum(rim_width * self.scale, 1e-3)
        style[:, SLOPE_X], style[:, SLOPE_Y] = slope[0] / self.scale, slope[1] / self.scale
        self.styles.append(style)
        self.table.append((kind, self.count, self.count + xy.shape[1], clip))
        self.count += xy.shape[1]

    def fill(self, points, *, tone=None, shade=None, opacity=1.0, soft=0.0, rim=0.0, rim_width=0.2, slope=(0.0, 0.0),
             clip=FREE, smooth=True):
        """The inside of the closed curve through points (N,K,2).

        rim: how much darker the edge is than the inside, fading over rim_width; slope: tone gained per unit of x, y."""
        if smooth:
            points = spline(points.astype(np.float32), True, self.pieces(points.shape[1]))
        value, multiply = (tone, 0.0) if shade is None else (shade, 1.0)
        self._add(FILL, points, 0.0, clip, value, opacity, multiply, soft, rim, rim_width, slope)

    def stroke(self, points, width, *, tone=None, shade=None, opacity=1.0, soft=0.0, clip=FREE, closed=False):
        """A line along points (N,K,2); width: half widths, a number or (N,K) (tapering)."""
        width = np.broadcast_to(np.asarray(width, np.float64), points.shape[:2])
        both = np.concatenate([points, width[:, :, None]], 2).astype(np.float32)
        both = spline(both, closed, self.pieces(points.shape[1]))
        if closed:
            both = np.concatenate([both, both[:, :1]], 1)
        value, multiply = (tone, 0.0) if shade is None else (shade, 1.0)
        self._add(STROKE, both[:, :, :2], np.maximum(both[:, :, 2], 0), clip, value, opacity, multiply, soft, 0.0, 1.0,
                  (0.0, 0.0))

    def glow(self, centre, radius_x, radius_y, shade, *, clip=INSIDE, angle=0.0, opacity=1.0):
        """A soft ellipse around centre (N,2) that multiplies by 1 + shade in its middle, by 1 at its edge."""
        angle = np.broadcast_to(np.asarray(angle, np.float64), (self.n,))
        c, s = np.cos(angle), np.sin(angle)
        radius_x, radius_y = np.broadcast_to(radius_x, (self.n,)), np.broadcast_to(radius_y, (self.n,))
        ends = np.stack([centre, centre + np.stack([c * radius_x, s * radius_x], -1),
                         centre + np.stack([-s * radius_y, c * radius_y], -1)], 1)
        self._add(GLOW, ends, 0.0, clip, shade, opacity, 1.0, 0.0, 0.0, 1.0, (0.0, 0.0))

    def paint(self, canvases: np.ndarray) -> None:
        """Paint picture i onto canvases[i] (N,H,W) float32, in place."""
        points, styles = np.concatenate(self.points, 1), np.stack(self.styles, 1)
        paint_all(canvases, points, styles, np.array(self.table, np.int64))


@kernel(error_model="numpy")
def bounds(points, kind, reach, height, width):
    """The rectangle of pixels (top, bottom, left, right) that a shape can touch; reach: how far beyond its points."""
    if kind == GLOW:   # centre and two half axes
        dx = abs(points[1, 0] - points[0, 0]) + abs(points[2, 0] - points[0, 0])
        dy = abs(points[1, 1] - points[0, 1]) + abs(points[2, 1] - points[0, 1])
        left, right, top, bottom = points[0, 0] - dx, points[0, 0] + dx, points[0, 1] - dy, points[0, 1] + dy
    else:
        left = right = points[0, 0]
        top = bottom = points[0, 1]
        for i in range(len(points)):
            w = points[i, 2] + reach
            left, right = min(left, points[i, 0] - w), max(right, points[i, 0] + w)
            top, bottom = min(top, points[i, 1] - w), max(bottom, points[i, 1] + w)
    last_x, last_y = np.float32(width), np.float32(height)   # first into the picture, then to integers
    left, right = min(max(left, ZERO), last_x), min(max(right, -ONE), last_x)
    top, bottom = min(max(top, ZERO), last_y), min(max(bottom, -ONE), last_y)
    return int(top), min(int(bottom) + 1, height), int(left), min(int(right) + 1, width)


@kernel(error_model="numpy")
def fill_row(points, xs, y, reach, distance, inside):
    """Signed distance (negative inside) of the pixels (xs, y) to the edge of a closed polygon (M,3), into `distance`.

    Distances beyond `reach` are all the same to the painter and come out as FAR."""
    for i in range(len(xs)):
        distance[i], inside[i] = FAR, ONE
    m = len(points)
    for k in range(m):
        x0, y0 = points[k, 0], points[k, 1]
        x1, y1 = points[(k + 1) % m, 0], points[(k + 1) % m, 1]
        ex, ey = x1 - x0, y1 - y0
        inverse = ONE / max(ex * ex + ey * ey, TINY)
        py = y - y0
        if min(y0, y1) - reach < y < max(y0, y1) + reach:
            for i in range(len(xs)):   # over a row's pixels, not over edges: this loop becomes vector instructions
                px = xs[i] - x0
                t = min(max((px * ex + py * ey) * inverse, ZERO), ONE)
                dx, dy = px - t * ex, py - t * ey
                distance[i] = min(distance[i], dx * dx + dy * dy)
        if (y0 <= y) != (y1 <= y):   # the edge crosses this row: every pixel left of the crossing changes sides
            crossing = x0 + ex * py / ey
            for i in range(len(xs)):
                inside[i] = -inside[i] if xs[i] < crossing else inside[i]
    for i in range(len(xs)):
        distance[i] = inside[i] * np.sqrt(distance[i])


@kernel(error_model="numpy")
def stroke_row(points, xs, y, reach, distance, half_width):
    """Distance of the pixels (xs, y) to the edge of a line of half widths points[:, 2], and the half width there.

    Pieces of the line farther off than `reach` are left out."""
    for i in range(len(xs)):
        distance[i], half_width[i] = FAR, ZERO
    for k in range(len(points) - 1):
        x0, y0, w0 = points[k, 0], points[k, 1], points[k, 2]
        ex, ey, ew = points[k + 1, 0] - x0, points[k + 1, 1] - y0, points[k + 1, 2] - w0
        inverse = ONE / max(ex * ex + ey * ey, TINY)
        py = y - y0
        beyond = reach + max(w0, points[k + 1, 2])
        if not min(y0, points[k + 1, 1]) - beyond < y < max(y0, points[k + 1, 1]) + beyond:
            continue
        for i in range(len(xs)):
            px = xs[i] - x0
            t = min(max((px * ex + py * ey) * inverse, ZERO), ONE)
            dx, dy = px - t * ex, py - t * ey
            w = w0 + t * ew
            d = np.sqrt(dx * dx + dy * dy) - w
            closer = d < distance[i]
            distance[i] = d if closer else distance[i]
            half_width[i] = w if closer else half_width[i]


@kernel(error_model="numpy")
def glow_row(points, xs, y, weight):
    """(1 - r^2)^2 inside the ellipse of centre points[0], half axes to points[1] and points[2]; 0 outside."""
    cx, cy = points[0, 0], points[0, 1]
    ax, ay, bx, by = points[1, 0] - cx, points[1, 1] - cy, points[2, 0] - cx, points[2, 1] - cy
    over_a, over_b = ONE / max(ax * ax + ay * ay, TINY), ONE / max(bx * bx + by * by, TINY)
    py = y - cy
    for i in range(len(xs)):
        px = xs[i] - cx
        u, v = (px * ax + py * ay) * over_a, (px * bx + py * by) * over_b
        r = max(ONE - u * u - v * v, ZERO)
        weight[i] = r * r


@kernel(error_model="numpy")
def cover_row(distance, half_width, soft, thin):
    """Signed distances to an edge -> coverage 0..1, a smooth step of width `soft`, in place; thin: of a line."""
    for i in range(len(distance)):
        a = min(max(HALF - distance[i] / soft, ZERO), ONE)
        a = a * a * (THREE - TWO * a)
        if thin:   # a line thinner than its soft edge must not look thicker than it is
            a = a * min(TWO * half_width[i] / soft, ONE)
        distance[i] = a


@kernel(error_model="numpy")
def tone_row(distance, xs, y, centre_x, centre_y, style, tone):
    """The tone of a fill's pixels (xs, y): darker towards its edge by the rim, rising along the slope."""
    value, rim, over = style[VALUE], style[RIM], ONE / style[RIM_WIDTH]
    slope_x, slope_y = style[SLOPE_X], style[SLOPE_Y] * (y - centre_y)
    for i in range(len(xs)):
        edge = max(ONE + distance[i] * over, ZERO)   # 1 at the edge, 0 deep inside
        tone[i] = value * (ONE - rim * min(edge, ONE) * edge) * (ONE + slope_x * (xs[i] - centre_x) + slope_y)


@kernel(error_model="numpy")
def blend_row(pixels, coverage, tone, opacity, multiply):
    """Lay the tone over the pixels, or multiply them by 1 + tone, as far as coverage and opacity go."""
    for i in range(len(pixels)):
        a = coverage[i] * opacity
        pixels[i] += a * (tone[i] * pixels[i] if multiply else tone[i] - pixels[i])


@kernel(error_model="numpy")
def mask_row(coverage, mask, clip):
    """Remember a row's coverage in the mask, or weigh it by what the mask remembers."""
    for i in range(len(coverage)):
        if clip == MAKE_MASK:
            mask[i] = coverage[i]
        else:
            coverage[i] *= mask[i]


@kernel(error_model="numpy")
def paint_shape(canvas, mask, rows, points, style, kind, clip):
    """Paint one shape onto canvas (H,W).

    mask (H,W): coverage of the last fill that asked to be remembered; rows (4,W): room to work in. Array expressions
    (slices assigned, arange, mean) are spelled out as loops: they take Numba many seconds to compile."""
    height, width = canvas.shape
    if clip == MAKE_MASK:
        for y in range(height):
            for x in range(width):
                mask[y, x] = ZERO
    top, bottom, left, right = bounds(points, kind, style[SOFT], height, width)
    if left >= right:
        return
    xs, near, extra, tone = rows[0, left:right], rows[1, left:right], rows[2, left:right], rows[3, left:right]
    for i in range(len(xs)):
        xs[i] = np.float32(left + i) + HALF
        tone[i] = style[VALUE]
    centre_x, centre_y = ZERO, ZERO
    for k in range(len(points)):
        centre_x += points[k, 0] / np.float32(len(points))
        centre_y += points[k, 1] / np.float32(len(points))
    reach = max(style[SOFT], style[RIM_WIDTH] if style[RIM] != ZERO else ZERO)
    for row in range(top, bottom):
        y = np.float32(row) + HALF
        if kind == FILL:
            fill_row(points, xs, y, reach, near, extra)
            tone_row(near, xs, y, centre_x, centre_y, style, tone)
        elif kind == STROKE:
            stroke_row(points, xs, y, reach, near, extra)
        else:
            glow_row(points, xs, y, near)
        if kind != GLOW:
            cover_row(near, extra, style[SOFT], kind == STROKE)
        if clip != FREE:
            mask_row(near, mask[row, left:right], clip)
        blend_row(canvas[row, left:right], near, tone, style[OPACITY], style[MULTIPLY] > HALF)


@kernel(error_model="numpy")
def paint_all(canvases, points, styles, table):
    """canvases (N,H,W), points (N,P,3) in pixels, styles (N,S,8), table (S,4): kind, first and end point, clip mode."""
    mask, rows = np.zeros(canvases.shape[1:], np.float32), np.zeros((4, canvases.shape[2]), np.float32)
    for picture in range(len(canvases)):
        for shape in range(len(table)):
            start, stop = table[shape, 1], table[shape, 2]
            if styles[picture, shape, OPACITY] > ZERO:
                paint_shape(canvases[picture], mask, rows, points[picture, start:stop], styles[picture, shape],
                            table[shape, 0], table[shape, 3])
