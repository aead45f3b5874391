"""A face as geometry: anatomy, pose, light and expression of N faces -> a `Drawing`.

Face units: the origin lies between the eyes, x runs to the picture's right, y down; the crown is at y = -1, the chin at
y = 1, the cheekbones at x = -0.75 and 0.75. A turn of the head moves each point by its depth on an ellipsoid, so noses
move more than ears. All parameters are arrays (N,) in a dict; toyfaces.py says what each means and draws them at
random. What an expression does and how hair lies is in the tables of looks.py.
"""

import numpy as np

from .drawing import FREE, INSIDE, MAKE_MASK, Drawing, spline, stack
from .looks import HAIR_NAMES, HAIR_STYLES


def _outline(corners, count: int) -> np.ndarray:
    """A closed smooth curve through a style's corners, cut into `count` equal lengths -> (count,2); none: far off."""
    if not corners:
        return np.full((count, 2), -9.0)
    curve = spline(np.array(corners, float)[None], True, 12)[0]
    curve = np.concatenate([curve, curve[:1]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    at = np.linspace(0, along[-1], count, endpoint=False)
    return np.stack([np.interp(at, along, curve[:, 0]), np.interp(at, along, curve[:, 1])], 1)


class Portrait:
    """Builds the drawing of N faces; one method per part of the face, in the order in which they are painted."""

    def __init__(self, p: dict, actions: dict, place, height: int, width: int):
        origin_x, origin_y, scale = place
        self.p, self.a, self.n = p, actions, len(scale)
        self.middle, self.half = (width / 2, height / 2), height / 2
        self.drawing = Drawing(origin_x, origin_y, scale, detail=max(1.0, float(np.max(scale)) / 32),
                               blur=p["blur"] * scale)
        self.detail = 24 if np.max(scale) < 40 else 72
        self.cos_yaw, self.sin_yaw = np.cos(np.radians(p["yaw"])), np.sin(np.radians(p["yaw"]))
        self.cos_pitch, self.sin_pitch = np.cos(np.radians(p["pitch"])), np.sin(np.radians(p["pitch"]))
        self.cos_roll, self.sin_roll = np.cos(np.radians(p["roll"])), np.sin(np.radians(p["roll"]))
        # the light's direction as a tone gradient over everything
        self.slope = (p["light_side"] * np.cos(np.radians(p["light_angle"])),
                      p["light_side"] * np.sin(np.radians(p["light_angle"])))
        self.skin, self.hair = p["skin"], p["hair_tone"]
        self.eye_x = 0.325 * p["eye_spacing"]
        self.eye_y = -0.02

    # -- where things lie ---------------------------------------------------------------------------------------------
    def roll(self, points):
        """Turn points (N,K,2) in the picture's plane about the head's centre."""
        x, y = points[:, :, 0], points[:, :, 1]
        c, s = self.cos_roll[:, None], self.sin_roll[:, None]
        return np.stack([c * x - s * y, s * x + c * y], 2)

    def on_face(self, *points, lift=0.0):
        """Points given as (x, y) on the unturned face -> (N,K,2) turned; lift: height above the skin."""
        q = points[0] if len(points) == 1 and getattr(points[0], "ndim", 0) == 3 else stack(points, self.n)
        x, y = q[:, :, 0] * self.p["face_width"][:, None], q[:, :, 1]
        z = 0.72 * np.sqrt(np.maximum(1 - (x / 0.95) ** 2 - (y / 1.25) ** 2, 0)) + lift
        x = x * self.cos_yaw[:, None] + z * self.sin_yaw[:, None]
        y = y * self.cos_pitch[:, None] + z * self.sin_pitch[:, None]
        return self.roll(np.stack([x, y], 2))

    def flat(self, *points, depth=0.0):
        """Points of the silhouette -> (N,K,2): turned like something at one depth."""
        q = points[0] if len(points) == 1 and getattr(points[0], "ndim", 0) == 3 else stack(points, self.n)
        x, y = q[:, :, 0] * self.p["face_width"][:, None], q[:, :, 1]
        depth = depth + 0.30 * np.clip(y, 0, 1) ** 2 * (y < 1.05)   # the chin stands forward
        return self.roll(np.stack([x + depth * self.sin_yaw[:, None], y + depth * self.sin_pitch[:, None]], 2))

    def both(self, draw):
        """Call draw(side) for the picture's left (-1) and right (+1) half of the face."""
        draw(-1.0)
        draw(1.0)

    # -- behind the face ----------------------------------------------------------------------------------------------
    def background(self):
        """Vague things far off; they stay where they are when the face moves (units of half the picture's height)."""
        p, d = self.p, self.drawing
        zoom = self.half / d.scale

        def at(*points):
            return (stack(points, self.n) * self.half + self.middle - d.origin) / d.scale[:, None, None]
        for i in range(3):
            size = p[f"scenery_size{i}"] * zoom
            d.glow(at((p[f"scenery_x{i}"], p[f"scenery_y{i}"]))[:, 0], size, 0.8 * size, p[f"scenery_shade{i}"],
                   clip=FREE, opacity=p["background"] > 0)
        x, w = p["scenery_x0"], 0.25 * p["scenery_size1"]   # a door post, a window's frame
        d.fill(at((x - w, -2), (x + w, -2), (x + w, 2), (x - w, 2)), shade=p["scenery_shade2"], smooth=False, soft=0.06,
               opacity=p["background"] > 1)

    def hair_curve(self, which: int):
        table = np.stack([_outline(style[which], self.detail) for style in HAIR_STYLES.values()])
        return table[self.p["hair"].astype(int)]

    def hair_behind(self):
        has = np.array([len(style[1]) > 0 for style in HAIR_STYLES.values()])[self.p["hair"].astype(int)]
        self.drawing.fill(self.flat(self.hair_curve(1), depth=-0.1), tone=self.hair * 0.82, rim=0.25, slope=self.slope,
                          smooth=False, opacity=has)

    def shoulders(self):
        p, d = self.p, self.drawing
        d.fill(self.flat((-0.40, 0.5), (0.40, 0.5), (0.40, 1.0), (0.58, 1.25), (0.5, 1.7), (-0.5, 1.7), (-0.58, 1.25),
                         (-0.40, 1.0)), tone=self.skin * 0.80, slope=self.slope, rim=0.25, rim_width=0.15)
        d.glow(self.flat((0.0, 1.02), depth=0.1)[:, 0], 0.55, 0.30, -0.5, clip=FREE)
        d.fill(self.flat((-0.50, 1.16), (0.0, 1.50), (0.50, 1.16), (1.25, 1.38), (1.75, 1.9), (1.9, 3.4), (-1.9, 3.4),
                         (-1.75, 1.9), (-1.25, 1.38)), tone=p["clothes"], slope=self.slope, rim=0.25)

    def ears(self):
        bare = ~np.isin(self.p["hair"], [HAIR_NAMES.index("fringe"), HAIR_NAMES.index("long")])
        def ear(side):
            points = [(0.70, -0.10), (0.80, -0.14), (0.87, -0.03), (0.84, 0.14), (0.78, 0.27), (0.70, 0.24)]
            self.drawing.fill(self.flat(*((side * x, y) for x, y in points), depth=-0.15), tone=self.skin * 0.9,
                              slope=self.slope, rim=0.3, rim_width=0.1, opacity=bare)
            self.drawing.stroke(self.flat((side * 0.77, -0.06), (side * 0.82, 0.0), (side * 0.78, 0.12), depth=-0.15),
                                0.014, shade=-0.3, soft=0.02, opacity=bare)
        self.both(ear)

    # -- the head and its shading -------------------------------------------------------------------------------------
    def head(self):
        p, a = self.p, self.a
        half = [(0.40, -0.94, 0), (0.66, -0.66, 0), (0.75, -0.25, 0), (0.735, 0.14, 0.1), (0.665, 0.47, 0.6),
                (0.48, 0.80, 1.0), (0.22, 0.985, 1.0)]
        drop = 0.10 * np.maximum(a["jaw"], 0)   # an open jaw makes the face longer
        right = [(x * (1 + (p["jaw_width"] - 1) * low), y * (1 + (p["chin"] - 1) * low) + drop * low)
                 for x, y, low in half]
        chin = (0.0, p["chin"] * 1.02 + drop)
        outline = [(0.0, -1.0)] + right + [chin] + [(-x, y) for x, y in right[::-1]]
        self.drawing.fill(self.flat(*outline), tone=self.skin, slope=self.slope, rim=0.38, rim_width=0.34,
                          clip=MAKE_MASK)

    def glow(self, x, y, rx, ry, shade, lift=0.0, angle=0.0):
        centre = self.on_face((x, y), lift=lift)[:, 0]
        self.drawing.glow(centre, rx, ry, shade, angle=np.radians(self.p["roll"]) + angle)

    def shading(self):
        p, a = self.p, self.a
        side = np.sign(self.slope[0])
        self.glow(0.0, -0.58, 0.60, 0.36, 0.12)                          # forehead
        def half(s):
            smile = np.maximum(a["cheek"], 0)
            self.glow(s * self.eye_x * 0.98, self.eye_y - 0.06, 0.32, 0.26, -0.50)               # eye socket
            self.glow(s * 0.12, -0.05, 0.13, 0.24, -0.26)                                       # beside the nose
            self.glow(s * 0.40, 0.25 - 0.04 * a["cheek"], 0.30, 0.24, 0.15 + 0.10 * smile)       # cheek
            self.glow(s * 0.47, 0.52, 0.24, 0.34, -0.15, angle=s * 0.35)                         # hollow of the cheek
        self.both(half)
        self.glow(0.0, 0.86 * p["chin"], 0.24, 0.15, 0.12)                # chin
        self.glow(0.0, 0.765 + 0.20 * np.maximum(a["jaw"], 0), 0.20, 0.065, -0.20)   # under the lip
        self.glow(-side * 0.62, 0.15, 0.55, 1.2, -p["shadow"])           # the side away from the light

    def beard(self):
        p, d = self.p, self.drawing
        full = self.on_face((-0.86, 0.02), (-0.66, 0.12), (-0.55, 0.34), (-0.34, 0.45), (-0.12, 0.47), (0.12, 0.47),
                            (0.34, 0.45), (0.55, 0.34), (0.66, 0.12), (0.86, 0.02), (0.95, 0.7), (0.5, 1.3),
                            (-0.5, 1.3), (-0.95, 0.7))
        d.fill(full, tone=self.hair, opacity=0.86 * (p["beard"] == 3), soft=0.09, clip=INSIDE, rim=-0.1)
        d.fill(full, shade=-0.20, opacity=p["beard"] == 1, soft=0.20, clip=INSIDE)

    def moustache(self):
        p, a = self.p, self.a
        y = self.mouth_y - 0.115 - self.rise - 0.015 * p["lips"]
        has = (p["beard"] >= 2) * 0.95
        w = self.mouth_width
        tips = y + 0.075 - 0.06 * a["corner"] * (a["corner"] > 0)
        line = self.on_face((-0.95 * w, tips), (-0.5 * w, y + 0.005), (0.0, y), (0.5 * w, y + 0.005), (0.95 * w, tips),
                            lift=0.04)
        width = np.array([0.012, 0.05, 0.042, 0.05, 0.012])
        self.drawing.stroke(line, width, tone=self.hair, opacity=has, soft=0.03)

    # -- nose and folds -----------------------------------------------------------------------------------------------
    def nose(self):
        p, a, d = self.p, self.a, self.drawing
        w, up = p["nose_width"], 0.035 * np.maximum(a["nose"], 0)
        tip = 0.30 * p["nose_length"] - up
        dark = np.sign(self.slope[0] + 1e-9)
        d.stroke(self.on_face((-0.05 * dark, -0.15), (-0.07 * dark, 0.1), (-0.10 * w * dark, tip - 0.02), lift=0.08),
                 np.array([0.03, 0.045, 0.05]), shade=-0.20, soft=0.10)
        d.stroke(self.on_face((0.0, -0.20), (0.0, 0.05), (0.0, tip - 0.03), lift=0.16), np.array([0.03, 0.035, 0.05]),
                 shade=0.15, soft=0.09)
        d.glow(self.on_face((0.0, tip + 0.075), lift=0.08)[:, 0], 0.19 * w, 0.075, -0.42, clip=FREE)
        d.glow(self.on_face((0.0, tip - 0.01), lift=0.24)[:, 0], 0.11 * w, 0.09, 0.20, clip=FREE)
        def half(s):
            d.stroke(self.on_face((s * 0.105 * w, tip - 0.07), (s * 0.145 * w, tip), (s * 0.12 * w, tip + 0.055),
                                  (s * 0.085 * w, tip + 0.06), lift=0.06), np.array([0.004, 0.014, 0.014, 0.006]),
                     shade=-0.38, soft=0.02)
            d.stroke(self.on_face((s * 0.035 * w, tip + 0.052), (s * 0.075 * w, tip + 0.045), lift=0.15),
                     np.array([0.012, 0.018]), shade=-0.65, soft=0.02)
        self.both(half)

    def line(self, points, width, strength, lift=0.0, soft=0.02):
        """A wrinkle: a soft darker line, skipped where its strength is 0."""
        strength = np.clip(strength, 0, 1)
        taper = np.sin(np.linspace(0.25, np.pi - 0.25, len(points))) * width
        self.drawing.stroke(self.on_face(*points, lift=lift), taper, shade=-0.5 * strength, soft=soft,
                            opacity=strength > 0.05)

    def folds(self):
        a = self.a
        smile, snarl = np.maximum(a["cheek"], 0), np.maximum(a["nose"], 0)
        raised = np.clip(0.5 * (a["brow_inner"] + a["brow_outer"]), 0, 1)
        def half(s):
            corner = s * (self.mouth_width + 0.055)
            fold = np.clip(np.maximum(0.55 * smile, 0.75 * snarl) + 0.10, 0, 1)
            self.line([(s * 0.165, 0.27 - 0.03 * snarl), (s * 0.25, 0.40), (corner, self.mouth_y - 0.06 * a["corner"])],
                      0.018, fold, soft=0.045)
            self.line([(s * 0.05, -0.16), (s * 0.045, -0.25), (s * 0.06, -0.33)], 0.014, 0.8 * np.maximum(a["knit"], 0)
                      * (a["brow_inner"] < 0.2), lift=0.05)
            self.line([(s * 0.03, 0.0), (s * 0.10, 0.045), (s * 0.15, 0.12)], 0.014, 0.8 * snarl, lift=0.10)
            self.line([(s * 0.02, -0.09), (s * 0.09, -0.05), (s * 0.13, 0.02)], 0.012, 0.7 * snarl, lift=0.10)
            self.line([(s * 0.54, -0.05), (s * 0.62, -0.08)], 0.010, 0.55 * smile)
            self.line([(s * 0.54, 0.00), (s * 0.62, 0.02)], 0.010, 0.55 * smile)
            x = self.eye_x
            self.line([(s * (x - 0.13), 0.10), (s * x, 0.145), (s * (x + 0.13), 0.10)], 0.012,
                      0.25 + 0.35 * np.maximum(a["lower_lid"], 0), soft=0.03)
        self.both(half)
        for i, y in enumerate((-0.50, -0.60)):
            bend = -0.03 + 0.05 * np.clip(a["brow_outer"] - a["brow_inner"], -1, 1)
            self.line([(-0.32, y - bend), (-0.15, y), (0.0, y + 0.01), (0.15, y), (0.32, y - bend)], 0.012,
                      0.55 * raised * (1 - 0.3 * i), soft=0.025)

    # -- eyes and brows -----------------------------------------------------------------------------------------------
    def eye(self, s):
        p, a, d = self.p, self.a, self.drawing
        w = 0.165 * p["eye_size"]
        up = p["eye_size"] * np.maximum(0.088 * (1 + 0.55 * a["eye_open"]), 0.016) * (1 - p["blink"])
        low = p["eye_size"] * np.maximum(0.056 * (1 - 0.55 * a["lower_lid"] - 0.30 * a["cheek"]
                                                   + 0.20 * a["eye_open"]), 0.006)
        low = low * (1 - 0.5 * p["blink"])
        droop = 0.045 * a["lid_droop"]
        x, y = self.eye_x, self.eye_y
        def at(u, v):
            return (s * (x + u * w), y + v)
        top = [at(-1.0, 0.022), at(-0.55, -0.70 * up), at(0.05, -up + 0.15 * droop),
               at(0.62, -0.74 * up + 0.75 * droop), at(1.02, -0.012 + droop)]
        bottom = [at(0.55, 0.80 * low + 0.4 * droop), at(0.0, low), at(-0.55, 0.70 * low + 0.005)]
        shape = self.on_face(*top, *bottom)
        shine = 0.40 + 0.56 * np.clip(self.skin, 0.3, 0.75)
        d.fill(shape, tone=shine, rim=0.30, rim_width=0.05, clip=MAKE_MASK)
        gaze = self.on_face((s * x + p["gaze_x"] * w, y - 0.008 + p["gaze_y"] * 0.03))[:, 0]
        r = 0.096 * p["eye_size"]
        self.disc(gaze, r, tone=p["iris"], clip=INSIDE, rim=0.5, rim_width=0.03)
        self.disc(gaze, r * 0.50, tone=0.03, clip=INSIDE)
        d.stroke(self.on_face(*[(q[0], q[1] + 0.012) for q in top]), 0.022, shade=-0.40, soft=0.03, clip=INSIDE)
        glint = self.roll(stack([(-0.030, -0.034)], self.n))[:, 0] * p["eye_size"][:, None]
        self.disc(gaze + glint, 0.021, tone=0.97, clip=INSIDE)
        lid = np.array([0.006, 0.018, 0.023, 0.021, 0.009])
        d.stroke(self.on_face(*top), lid * (0.8 + 0.4 * p["lashes"][:, None]), tone=0.04 + 0.10 * self.skin, soft=0.012)
        d.stroke(self.on_face(at(1.02, -0.012 + droop), *bottom, at(-1.0, 0.022)), 0.007, shade=-0.45, soft=0.012)
        flick = self.on_face(at(0.80, -0.45 * up + 0.8 * droop), at(1.05, -0.02 + droop), at(1.22, -0.045 + droop))
        d.stroke(flick, np.array([0.016, 0.013, 0.003]), tone=0.05 + 0.1 * self.skin, opacity=p["lashes"] > 0.5,
                 soft=0.01)
        crease = [(q[0], q[1] - 0.035 - 0.012 * (1 - a["eye_open"])) for q in top[1:]]
        d.stroke(self.on_face(*crease), np.array([0.004, 0.010, 0.010, 0.003]), shade=-0.34, soft=0.015)

    def disc(self, centre, radius, **style):
        angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        ring = np.stack([np.cos(angles), np.sin(angles)], 1)
        radius = np.broadcast_to(radius, (self.n,))
        self.drawing.fill(centre[:, None, :] + radius[:, None, None] * ring, **style)

    def brow(self, s):
        p, a = self.p, self.a
        y = -0.235 - p["brow_height"]
        inner, outer = 0.112 * a["brow_inner"], 0.105 * a["brow_outer"]
        knit = np.maximum(a["knit"], 0)
        arch = p["brow_arch"] * 0.022 + 0.045 * a["brow_arch"]
        points = [(s * (0.135 - 0.045 * knit), y - 0.022 - inner), (s * (0.25 - 0.025 * knit), y - 0.036 - 0.75 * inner
                  - 0.25 * outer - 0.6 * arch), (s * 0.405, y - 0.030 - 0.25 * inner - 0.75 * outer - arch),
                  (s * 0.535, y + 0.035 - 0.9 * outer)]
        width = np.array([0.030, 0.036, 0.027, 0.008]) * p["brow_width"][:, None]
        tone = np.minimum(np.where(p["hair"] == HAIR_NAMES.index("hat"), 0.15, self.hair * 0.9), self.skin * 0.52)
        self.drawing.stroke(self.on_face(*points, lift=0.04), width, tone=tone, opacity=0.93, soft=0.03)

    # -- the mouth ----------------------------------------------------------------------------------------------------
    def measure_mouth(self):
        """The mouth's measures from the actions: centre height, half width, gap; used by nose folds and beard too."""
        p, a = self.p, self.a
        jaw = np.maximum(a["jaw"], 0)
        self.mouth_y = 0.60 + 0.02 * p["nose_length"] - 0.02 + 0.015 * jaw
        self.mouth_width = 0.245 * p["mouth_width"] * (1 + 0.30 * a["stretch"])
        self.gap = 0.36 * jaw
        # how far the upper lip goes up; the corners of a round mouth lie half-way down, of others nearer the top
        self.lifted = self.gap * (0.26 + 0.3 * np.clip(-a["stretch"], 0, 1))
        self.rise = self.lifted + 0.055 * np.maximum(a["upper_lip"], 0)

    def lips(self):
        """The mouth at nine places across -> x, the opening's top and bottom, the upper and the lower lip's outer edge.

        Each (N,9), face units."""
        p, a = self.p, self.a
        f = np.array([-1.0, -0.92, -0.70, -0.38, 0.0, 0.38, 0.70, 0.92, 1.0])
        arc = np.maximum(1 - f ** 2, 0)
        column = {name: value[:, None] for name, value in a.items()}
        gap, pulled, full = self.gap[:, None], column["corner"] + 0.07, p["lips"][:, None]
        square, rounded = np.clip(column["square"], 0, 1), np.clip(-column["stretch"], 0, 1)
        bulge = arc ** (0.66 - 0.16 * rounded - 0.33 * square)   # 0 at the corners, 1 in the middle
        line = self.mouth_y[:, None] - pulled * (0.115 * f ** 2 - 0.03) + 0.012 * p["smirk"][:, None] * f
        shut = np.clip(1 - 4 * gap, 0, 1)                         # then the lower lip follows the upper one
        follow = 0.055 * shut * np.maximum(column["upper_lip"], 0)
        top = line - self.rise[:, None] * bulge
        bottom = line + (gap - self.lifted[:, None] - follow) * bulge
        bow = np.array([0.0, 0.30, 0.72, 1.0, 0.80, 1.0, 0.72, 0.30, 0.0])
        full = full * (1 - 0.62 * np.clip(column["press"], 0, 1))
        smile = np.maximum(column["corner"], 0)
        upper = top - 0.058 * full * (1 - 0.15 * smile) * bow
        lower = bottom + (0.076 * full * (1 - 0.2 * smile) + 0.022 * np.maximum(column["pout"], 0)) * arc ** 0.85
        return self.mouth_width[:, None] * f, top, bottom, upper, lower

    def mouth(self):
        p, d = self.p, self.drawing
        x, top, bottom, upper, lower = self.lips()
        seam = 0.5 * (top + bottom)
        lift = 0.05

        def curve(y):
            return self.on_face(np.stack([x, y], 2), lift=lift)

        def between(y, z):
            """The closed curve along y and back along z, which meet at the corners."""
            return np.concatenate([curve(y), curve(z)[:, -2:0:-1]], 1)
        d.fill(between(upper, lower), tone=0.9 * self.skin, soft=0.03, opacity=0.9 * (p["beard"] == 3))
        d.fill(between(upper, lower), shade=-0.19, soft=0.025)
        d.fill(between(upper, seam), shade=-0.15, soft=0.02)
        shine = self.on_face((0.0, lower[:, 4] - 0.035), lift=lift)[:, 0]
        d.glow(shine, 0.6 * self.mouth_width, 0.035, 0.13, clip=FREE)
        opened = np.clip((bottom - top)[:, 4] / 0.03, 0, 1)
        d.fill(between(top, bottom), tone=0.10 + 0.12 * self.skin, opacity=opened, clip=MAKE_MASK, soft=0.01)
        tongue = self.on_face((0.0, bottom[:, 4] - 0.01), lift=lift)[:, 0]
        self.disc_wide(tongue, 0.62 * self.mouth_width, 0.42 * self.gap, tone=0.20 + 0.30 * self.skin,
                       opacity=0.8 * opened * (self.gap > 0.08), clip=INSIDE, soft=0.04)
        self.teeth(x, top, bottom, opened, lift)
        width = np.array([0.007, 0.009, 0.010, 0.012, 0.012, 0.012, 0.010, 0.009, 0.007])
        d.stroke(curve(seam), width, shade=-0.72, opacity=1 - opened, soft=0.015)
        d.stroke(curve(top), 0.008, shade=-0.45, opacity=opened, soft=0.015)
        for s, y in ((-1, seam[:, 0]), (1, seam[:, -1])):
            end = self.on_face((s * (self.mouth_width + 0.012), y), lift=0.03)[:, 0]
            d.glow(end, 0.055, 0.055, -0.40, clip=FREE)

    def teeth(self, x, top, bottom, opened, lift):
        a, d = self.a, self.drawing
        white = 0.45 + 0.58 * np.clip(self.skin, 0.35, 0.8)
        height = np.minimum(0.11, 0.62 * (bottom - top))
        snarl = (a["knit"] > 0.3) & (a["brow_inner"] < 0)         # clenched: two rows of teeth
        clenched = (np.clip(a["square"], 0, 1) * snarl)[:, None]
        edge = top + height + clenched * 0.45 * (bottom - top - height)
        row = np.concatenate([np.stack([x, top - 0.02], 2), np.stack([x, edge], 2)[:, -2:0:-1]], 1)
        show = opened * np.clip(1.4 * a["teeth"], 0, 1)
        d.fill(self.on_face(row, lift=lift), tone=white, opacity=0.95 * show, soft=0.012, clip=INSIDE)
        d.stroke(self.on_face(np.stack([x, 0.5 * (top + bottom)], 2), lift=lift), 0.006, shade=-0.45, soft=0.012,
                 opacity=show * (clenched[:, 0] > 0.3), clip=INSIDE)
        for f in (-0.5, -0.25, 0.0, 0.25, 0.5):   # gaps between the teeth, only seen close up
            w = f * self.mouth_width
            d.stroke(self.on_face((w, top[:, 4] - 0.05), (w, bottom[:, 4]), lift=lift), 0.003, shade=-0.16, soft=0.008,
                     opacity=show, clip=INSIDE)

    def disc_wide(self, centre, rx, ry, **style):
        angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        ring = np.stack([rx[:, None] * np.cos(angles), ry[:, None] * np.sin(angles)], 2)
        self.drawing.fill(centre[:, None, :] + self.roll(ring), **style)

    # -- before the face ----------------------------------------------------------------------------------------------
    def glasses(self):
        p, d = self.p, self.drawing
        worn = 0.85 * (p["glasses"] > 0)
        square = p["glasses"] == 2
        def lens(s):
            angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
            power = np.where(square, 0.55, 1.0)[:, None]
            cx, cy = np.cos(angles), np.sin(angles)
            ring = [np.sign(c) * np.abs(c) ** power for c in (cx, cy)]
            rx, ry = np.where(square, 0.235, 0.225)[:, None], np.where(square, 0.165, 0.205)[:, None]
            points = np.stack([s * (self.eye_x[:, None] + 0.01) + rx * ring[0], self.eye_y + 0.03 + ry * ring[1]], 2)
            curve = self.on_face(points, lift=0.10)
            d.fill(curve, shade=-0.07, opacity=worn)
            d.stroke(curve, p["rims"][:, None], tone=p["rim_tone"], opacity=worn, closed=True)
            d.stroke(self.on_face((s * (self.eye_x + 0.23), -0.03), (s * 0.70, -0.06), (s * 0.80, -0.05), lift=0.0),
                     p["rims"][:, None], tone=p["rim_tone"], opacity=worn)
        self.both(lens)
        d.stroke(self.on_face((-(self.eye_x - 0.21), -0.02), (0.0, -0.06), (self.eye_x - 0.21, -0.02), lift=0.12),
                 p["rims"][:, None], tone=p["rim_tone"], opacity=worn)

    def hair_front(self):
        p, d = self.p, self.drawing
        is_hat = p["hair"] == HAIR_NAMES.index("hat")
        curve = self.hair_curve(0)
        low = np.clip(1 - curve[:, :, 1] / -0.2, 0, 1)   # long hair hangs beside the face, it does not turn with it
        turned = np.where(low[:, :, None] > 0.5, self.flat(curve), self.on_face(curve, lift=0.03))
        hairline = 0.5 * turned + 0.5 * self.flat(curve)
        shadow = hairline + self.roll(stack([(0.0, 0.05)], self.n))
        d.fill(shadow, shade=-0.28, soft=0.12, smooth=False, opacity=p["hair"] > 0)
        d.fill(hairline, tone=np.where(is_hat, p["hat"], self.hair), rim=0.38, rim_width=0.22, slope=self.slope,
               smooth=False, clip=MAKE_MASK, opacity=p["hair"] > 0)
        strands = (p["hair"] > 0) & ~is_hat
        for i, u in enumerate(np.linspace(-1, 1, 11)):
            wave = p["curl"] * 0.06 * (-1) ** i
            lock = self.flat((0.25 * u + 0.1, -1.22), (0.72 * u + wave, -0.92), (0.93 * u - wave, -0.40),
                             (0.96 * u + wave, 0.3), (1.0 * u - wave, 1.2))
            d.stroke(lock, np.array([0.02, 0.035, 0.03, 0.03, 0.02]), shade=0.22 if i % 2 else -0.24, soft=0.06,
                     opacity=strands, clip=INSIDE)
        d.glow(self.flat((0.3 * np.sign(self.slope[0]), -0.93))[:, 0], 0.5, 0.22, 0.35, opacity=p["hair"] > 0)
        band = self.on_face((-0.88, -0.42), (-0.45, -0.58), (0.0, -0.63), (0.45, -0.58), (0.88, -0.42), lift=0.03)
        d.stroke(band, 0.09, shade=-0.16, soft=0.03, opacity=is_hat, clip=INSIDE)

    def occlusion(self):
        p, d = self.p, self.drawing
        kind, x, y = p["occlusion"], p["occluder_x"], p["occluder_y"]
        angle = np.radians(p["occluder_angle"])
        c, s = np.cos(angle), np.sin(angle)
        def at(*points):
            q = stack(points, self.n)
            return np.stack([x[:, None] + c[:, None] * q[:, :, 0] - s[:, None] * q[:, :, 1],
                             y[:, None] + s[:, None] * q[:, :, 0] + c[:, None] * q[:, :, 1]], 2)
        bar = at((-3.0, -0.11), (3.0, -0.11), (3.0, 0.11), (-3.0, 0.11))
        d.fill(bar, tone=p["occluder_tone"], smooth=False, opacity=kind == 2, soft=0.02)
        patch = at((-0.25, -0.2), (0.25, -0.25), (0.28, 0.2), (-0.2, 0.28))
        d.fill(patch, tone=p["occluder_tone"], opacity=kind == 3, rim=0.2)
        hand = kind == 1   # the fingertips lie at (0, 0), the arm goes off along +y
        skin = self.skin * 0.95
        d.fill(at((-0.27, 0.30), (0.27, 0.26), (0.30, 0.70), (0.20, 1.1), (0.24, 2.6), (-0.24, 2.6), (-0.20, 1.1),
                  (-0.30, 0.72)), tone=skin, opacity=hand, rim=0.35, rim_width=0.14)
        for u, tip in ((-0.21, 0.07), (-0.07, 0.0), (0.07, 0.01), (0.205, 0.08)):
            finger = at((u * 1.15, tip + 0.05), (u, 0.3), (u * 0.95, 0.62))
            d.stroke(finger, np.array([0.066, 0.074, 0.07]), tone=skin * 0.66, opacity=hand, soft=0.015)
            d.stroke(finger, np.array([0.050, 0.058, 0.05]), tone=skin, opacity=hand, soft=0.03)

    def build(self) -> Drawing:
        """All parts, painter's order: far things first."""
        self.measure_mouth()
        for part in (self.background, self.hair_behind, self.shoulders, self.ears, self.head, self.shading, self.beard,
                     self.nose, self.folds):
            part()
        self.both(self.eye)
        self.both(self.brow)
        for part in (self.moustache, self.mouth, self.glasses, self.hair_front, self.occlusion):
            part()
        return self.drawing
