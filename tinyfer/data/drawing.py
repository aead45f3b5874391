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
        self.points: list[np.ndarray] = []
        self.styles: list[np.ndarray] = []
        self.table: list[tuple] = []
        self.count = 0

    def pieces(self, segments: int) -> int:
        """How finely to cut a curve of so many segments: enough for the picture's size, no more."""
        return int(np.clip(np.ceil(self.detail * 12 / segments), 2, 10))

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


# The painting itself: one row of one shape at a time, in single precision. The inner loops run over a row's pixels and
# not over a shape's edges, so that they become vector instructions. Plain loops instead of array expressions, and few
# functions: this is what new users wait for while Numba compiles it.

@kernel(error_model="numpy")
def find_box(points, kind, soft, box):
    """The rectangle that a shape can touch -> box (4,): left, top, right, bottom in pixels, maybe off the picture."""
    for j in range(2):
        box[j] = box[2 + j] = points[0, j]
        if kind == GLOW:   # points: the centre and the ends of two half axes
            reach = abs(points[1, j] - points[0, j]) + abs(points[2, j] - points[0, j])
            box[j] -= reach
            box[2 + j] += reach
        else:
            for k in range(len(points)):
                reach = points[k, 2] + soft
                box[j] = min(box[j], points[k, j] - reach)
                box[2 + j] = max(box[2 + j], points[k, j] + reach)


@kernel(error_model="numpy")
def fill_row(points, xs, y, style, centre_x, centre_y, cover, side, tone):
    """Coverage and tone of the pixels (xs, y) by the closed polygon (M,3), into `cover` and `tone`; side: room."""
    soft, over, rim = style[SOFT], ONE / style[RIM_WIDTH], style[RIM]
    reach = max(soft, style[RIM_WIDTH] if rim != ZERO else ZERO)   # no one asks for distances beyond
    for i in range(len(xs)):
        cover[i], side[i] = FAR, ONE
    x0, y0 = points[-1, 0], points[-1, 1]
    for k in range(len(points)):
        x1, y1 = points[k, 0], points[k, 1]
        ex, ey, py = x1 - x0, y1 - y0, y - y0
        inverse = ONE / max(ex * ex + ey * ey, TINY)
        if min(y0, y1) - reach < y < max(y0, y1) + reach:
            for i in range(len(xs)):   # squared distance to the nearest edge
                px = xs[i] - x0
                t = min(max((px * ex + py * ey) * inverse, ZERO), ONE)
                dx, dy = px - t * ex, py - t * ey
                cover[i] = min(cover[i], dx * dx + dy * dy)
        if (y0 <= y) != (y1 <= y):     # the edge crosses this row: every pixel left of the crossing changes sides
            crossing = x0 + ex * py / ey
            for i in range(len(xs)):
                side[i] = -side[i] if xs[i] < crossing else side[i]
        x0, y0 = x1, y1
    value, slope_x, slope_y = style[VALUE], style[SLOPE_X], style[SLOPE_Y] * (y - centre_y)
    for i in range(len(xs)):
        d = side[i] * np.sqrt(cover[i])         # negative inside
        edge = max(ONE + d * over, ZERO)        # 1 at the edge, 0 deep inside
        light = ONE + slope_x * (xs[i] - centre_x) + slope_y
        tone[i] = value * (ONE - rim * min(edge, ONE) * edge) * light
        a = min(max(HALF - d / soft, ZERO), ONE)
        cover[i] = a * a * (THREE - TWO * a)


@kernel(error_model="numpy")
def stroke_row(points, xs, y, soft, cover, half_width):
    """Coverage of the pixels (xs, y) by a line of half widths points[:, 2], into `cover`; half_width: room."""
    for i in range(len(xs)):
        cover[i], half_width[i] = FAR, ZERO
    for k in range(len(points) - 1):
        x0, y0, w0 = points[k, 0], points[k, 1], points[k, 2]
        y1, w1 = points[k + 1, 1], points[k + 1, 2]
        beyond = soft + max(w0, w1)
        if min(y0, y1) - beyond < y < max(y0, y1) + beyond:
            ex, ey, ew, py = points[k + 1, 0] - x0, y1 - y0, w1 - w0, y - y0
            inverse = ONE / max(ex * ex + ey * ey, TINY)
            for i in range(len(xs)):
                px = xs[i] - x0
                t = min(max((px * ex + py * ey) * inverse, ZERO), ONE)
                dx, dy, w = px - t * ex, py - t * ey, w0 + t * ew
                d = np.sqrt(dx * dx + dy * dy) - w
                closer = d < cover[i]
                cover[i] = d if closer else cover[i]
                half_width[i] = w if closer else half_width[i]
    for i in range(len(xs)):   # a line thinner than its soft edge must not look thicker than it is: the last factor
        a = min(max(HALF - cover[i] / soft, ZERO), ONE)
        cover[i] = a * a * (THREE - TWO * a) * min(TWO * half_width[i] / soft, ONE)


@kernel(error_model="numpy")
def glow_row(points, xs, y, cover):
    """(1 - r^2)^2 inside the ellipse of centre points[0], half axes to points[1] and points[2]; 0 outside."""
    cx, cy = points[0, 0], points[0, 1]
    ax, ay, bx, by = points[1, 0] - cx, points[1, 1] - cy, points[2, 0] - cx, points[2, 1] - cy
    over_a, over_b = ONE / max(ax * ax + ay * ay, TINY), ONE / max(bx * bx + by * by, TINY)
    py = y - cy
    for i in range(len(xs)):
        px = xs[i] - cx
        u, v = (px * ax + py * ay) * over_a, (px * bx + py * by) * over_b
        r = max(ONE - u * u - v * v, ZERO)
        cover[i] = r * r


@kernel(error_model="numpy")
def blend_row(pixels, mask, cover, tone, style, clip):
    """Lay the tone over the pixels, or multiply them by 1 + tone, as far as coverage, mask and opacity go."""
    if clip == MAKE_MASK:
        for i in range(len(pixels)):
            mask[i] = cover[i]
    elif clip == INSIDE:
        for i in range(len(pixels)):
            cover[i] *= mask[i]
    opacity = style[OPACITY]
    if style[MULTIPLY] > HALF:
        for i in range(len(pixels)):
            pixels[i] += cover[i] * opacity * tone[i] * pixels[i]
    else:
        for i in range(len(pixels)):
            pixels[i] += cover[i] * opacity * (tone[i] - pixels[i])


@kernel(error_model="numpy")
def paint_all(canvases, points, styles, table):
    """Paint pictures (N,H,W) in place.

    points (N,P,3) pixels and half widths, styles (N,S,8), table (S,4): each shape's kind, first and end point, clip
    mode. The mask holds the coverage of the last fill that asked to be remembered."""
    n, height, width = canvases.shape
    mask, rows = np.zeros((height, width), np.float32), np.zeros((4, width), np.float32)
    box = np.zeros(4, np.float32)
    for picture in range(n):
        for shape in range(len(table)):
            style = styles[picture, shape]
            kind, start, stop, clip = table[shape, 0], table[shape, 1], table[shape, 2], table[shape, 3]
            if style[OPACITY] <= ZERO:
                continue
            if clip == MAKE_MASK:
                for row in range(height):
                    for x in range(width):
                        mask[row, x] = ZERO
            path = points[picture, start:stop]
            find_box(path, kind, style[SOFT], box)
            centre_x, centre_y = HALF * (box[0] + box[2]), HALF * (box[1] + box[3])
            left, right = int(min(max(box[0], 0), width)), int(min(max(box[2] + 1, 0), width))
            top, bottom = int(min(max(box[1], 0), height)), int(min(max(box[3] + 1, 0), height))
            xs, cover, room, tone = rows[0, left:right], rows[1, left:right], rows[2, left:right], rows[3, left:right]
            for i in range(len(xs)):
                xs[i] = np.float32(left + i) + HALF
                tone[i] = style[VALUE]
            for row in range(top, bottom):
                y = np.float32(row) + HALF
                if kind == FILL:
                    fill_row(path, xs, y, style, centre_x, centre_y, cover, room, tone)
                elif kind == STROKE:
                    stroke_row(path, xs, y, style[SOFT], cover, room)
                else:
                    glow_row(path, xs, y, cover)
                blend_row(canvases[picture, row, left:right], mask[row, left:right], cover, tone, style, clip)
