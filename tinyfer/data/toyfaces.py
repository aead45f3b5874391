"""Toy faces: drawn grey faces with the seven expressions, the built-in data set that needs no download.

    train, val, test = toyfaces(4000, np.random.default_rng(0))     # 48x48, balanced, 80/10/10
    picture = draw(256, "happy")                                    # one friendly face, uint8 (256,256)
    picture = draw(96, "fear", rng, glasses="round", yaw=10)        # random but for what is given
    frame = scene(480, 640, "surprise", x=300, y=220, face=180)     # a face somewhere in a larger picture

They are drawings: a network trained on them knows drawn faces only, and nothing about people.
"""

import numbers
from typing import NamedTuple

import numpy as np

from tinyfer.errors import UserError

from .looks import ACTIONS, BEARD_NAMES, EXPRESSIONS, GLASSES_NAMES, HAIR_NAMES, OCCLUSION_NAMES
from .portrait import Portrait
from .types import LABELS, Dataset, Info, Split

FRAMING = 0.50        # pictures per face unit: the face fills the picture as in FER-2013
CENTRE_Y = 0.12        # this height of the face (0: eyes, 1: chin) lies in the picture's middle


class Parameter(NamedTuple):
    """One thing that differs between faces: its value in a plain drawing, and how it is drawn at random."""

    plain: float
    low: float = 0.0
    high: float = 0.0
    shape: str = "uniform"          # uniform(low, high); normal: plain + low * N(0,1), at most `high` away from plain
    names: tuple = ()               # for a choice: the names of its values 0, 1, ...
    odds: tuple = ()                # and their probabilities
    meaning: str = ""


def _choice(names, odds, plain=0, meaning=""):
    total = sum(odds)
    return Parameter(plain, shape="choice", names=tuple(names), odds=tuple(o / total for o in odds), meaning=meaning)


# The order is the order of drawing random numbers: add new ones at the end, or every data set changes.
PARAMETERS = {
    "yaw": Parameter(0, 6, 14, "normal", meaning="turn of the head to the picture's right, degrees"),
    "pitch": Parameter(0, 4, 9, "normal", meaning="nod downwards, degrees"),
    "roll": Parameter(0, 4, 10, "normal", meaning="tilt clockwise, degrees"),
    "scale": Parameter(1, 0.91, 1.09, meaning="size of the face; 1 fills the picture as in FER-2013"),
    "shift_x": Parameter(0, -0.05, 0.05, meaning="face's place, in pictures"),
    "shift_y": Parameter(0, -0.05, 0.05, meaning="face's place, in pictures"),
    "light": Parameter(0, -0.10, 0.10, meaning="brightness added to the whole picture"),
    "contrast": Parameter(1, 0.8, 1.2, meaning="spread of the greys about the middle one"),
    "light_angle": Parameter(-130, -180, 180, meaning="where the light comes from, degrees; -90: from above"),
    "light_side": Parameter(0.12, 0, 0.4, meaning="how much brighter that side is"),
    "shadow": Parameter(0.10, 0, 0.45, meaning="darkness of the side away from the light"),
    "skin": Parameter(0.70, 0.40, 0.84, meaning="grey of the skin"),
    "hair": _choice(HAIR_NAMES, (5, 18, 15, 12, 16, 12, 11, 11), 2, "style of the hair"),
    "hair_tone": Parameter(0.20, 0.05, 0.58, meaning="grey of hair, brows and beard"),
    "hat": Parameter(0.45, 0.12, 0.85, meaning="grey of the hat"),
    "curl": Parameter(0.3, 0, 1, meaning="waviness of the strands"),
    "face_width": Parameter(1, 0.91, 1.09),
    "jaw_width": Parameter(0.96, 0.82, 1.12),
    "chin": Parameter(1, 0.94, 1.06, meaning="height of the chin below the eyes"),
    "eye_size": Parameter(1.08, 0.86, 1.2),
    "eye_spacing": Parameter(1, 0.93, 1.08),
    "iris": Parameter(0.22, 0.08, 0.45, meaning="grey of the iris"),
    "lashes": Parameter(0.55, 0, 1),
    "gaze_x": Parameter(0, 0.14, 0.3, "normal"),
    "gaze_y": Parameter(0, 0.35, 0.7, "normal"),
    "blink": Parameter(0, 0, 0, meaning="0: eyes as the expression has them, 1: closed"),
    "brow_height": Parameter(0, -0.025, 0.03),
    "brow_arch": Parameter(0.3, 0, 1),
    "brow_width": Parameter(0.95, 0.65, 1.4),
    "nose_width": Parameter(1, 0.82, 1.3),
    "nose_length": Parameter(1, 0.86, 1.12),
    "lips": Parameter(1, 0.6, 1.45, meaning="fullness"),
    "mouth_width": Parameter(1, 0.86, 1.15),
    "smirk": Parameter(0, 1, 2, "normal", meaning="how much one corner of the mouth is higher"),
    "glasses": _choice(GLASSES_NAMES, (78, 12, 10)),
    "rims": Parameter(0.016, 0.008, 0.022),
    "rim_tone": Parameter(0.10, 0.04, 0.35),
    "beard": _choice(BEARD_NAMES, (70, 12, 8, 10)),
    "clothes": Parameter(0.35, 0.08, 0.9),
    "backdrop": Parameter(0.62, 0.08, 0.92, meaning="grey of the background"),
    "backdrop_slope_x": Parameter(0.06, -0.25, 0.25),
    "backdrop_slope_y": Parameter(-0.10, -0.25, 0.25),
    "background": _choice(("plain", "vague", "room"), (30, 40, 30)),
    **{f"scenery_{what}{i}": Parameter(plain[i], low, high) for i in range(3) for what, plain, low, high in (
        ("x", (-1.1, 0.9, -0.1), -1.3, 1.3), ("y", (0.2, -0.5, 0.9), -1.1, 1.1), ("size", (0.9, 1.0, 0.8), 0.3, 1.2),
        ("shade", (-0.25, 0.2, -0.2), -0.5, 0.5))},
    "occlusion": _choice(OCCLUSION_NAMES, (86, 6, 4, 4)),
    "occluder_x": Parameter(0.62, -0.9, 0.9, meaning="of the fingertips or the patch, face units"),
    "occluder_y": Parameter(0.55, -0.7, 1.0),
    "occluder_angle": Parameter(-18, -70, 70),
    "occluder_tone": Parameter(0.5, 0.05, 0.95),
    "noise": Parameter(0, -0.02, 0.03, meaning="standard deviation of each pixel's noise, in 0..1"),
    "blur": Parameter(0, -0.02, 0.035, meaning="unsharpness in face units (0.04 is about a pixel at 48x48)"),
    "intensity": Parameter(1, 0.65, 1.12, meaning="strength of the expression; 1: as EXPRESSIONS has it"),
    "variant": Parameter(0, 0, 1, meaning="which way of showing the expression, 0..1 over those there are"),
}
HABITS = 0.11           # spread of every action from face to face: no two people smile alike


def random_parameters(n: int, rng: np.random.Generator) -> dict:
    """All parameters of n faces, each an array (n,)."""
    p = {}
    for name, q in PARAMETERS.items():
        if q.shape == "normal":
            p[name] = q.plain + np.clip(q.low * rng.standard_normal(n), -q.high, q.high)
        elif q.shape == "choice":
            p[name] = rng.choice(len(q.odds), n, p=q.odds).astype(float)
        else:
            p[name] = rng.uniform(q.low, q.high, n)
    return _plausible(p, rng)


def _plausible(p: dict, rng) -> dict:
    """Put right what does not go together: hair lost against the skin, beards with long hair, hands out of nowhere."""
    n = len(p["skin"])
    for name in ("noise", "blur"):   # drawn from below 0: a good part of the pictures has none
        p[name] = np.maximum(p[name], 0)
    close = np.abs(p["hair_tone"] - p["skin"]) < 0.16
    p["hair_tone"] = np.where(close, np.maximum(p["skin"] - 0.24, 0.06), p["hair_tone"])
    long_hair = np.isin(p["hair"], [HAIR_NAMES.index(name) for name in ("fringe", "long", "swept")])
    p["beard"] = np.where(long_hair, 0.0, p["beard"])
    p["lashes"] = np.where(p["beard"] > 0, 0.3 * p["lashes"], p["lashes"])
    hand = p["occlusion"] == OCCLUSION_NAMES.index("hand")
    side = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    p["occluder_x"] = np.where(hand, side * (0.45 + 0.3 * np.abs(p["occluder_x"])), p["occluder_x"])
    p["occluder_y"] = np.where(hand, 0.25 + 0.25 * np.abs(p["occluder_y"]), p["occluder_y"])
    patch = p["occlusion"] == OCCLUSION_NAMES.index("patch")   # beside the middle of the face, not upon the nose
    p["occluder_x"] = np.where(patch, side * (0.42 + 0.45 * np.abs(p["occluder_x"])), p["occluder_x"])
    p["occluder_angle"] = np.where(hand, -side * np.abs(p["occluder_angle"]) * 0.6, p["occluder_angle"])
    return p


def plain_parameters(n: int = 1) -> dict:
    """The parameters of the plain face that `draw` shows without rng: frontal, well lit, sharp."""
    return {name: np.full(n, float(q.plain)) for name, q in PARAMETERS.items()}


def _mixture(expression) -> dict:
    """'happy' or {'happy': 0.6, 'sad': 0.4} -> weights by name; a wrong name is a UserError."""
    weights = expression if isinstance(expression, dict) else {expression: 1.0}
    for name in weights:
        if name not in EXPRESSIONS:
            raise UserError(f"unknown expression {name!r}: use one of {', '.join(LABELS)}")
    return weights


def actions_of(mixtures: list, p: dict) -> dict:
    """The facial actions of N faces from their expressions (names or mixtures) -> action name to (N,)."""
    table = np.zeros((len(mixtures), len(ACTIONS)))
    for i, mixture in enumerate(mixtures):
        for name, weight in _mixture(mixture).items():
            ways = EXPRESSIONS[name]
            way = ways[min(int(p["variant"][i] * len(ways)), len(ways) - 1)]
            for action, strength in way.items():
                table[i, ACTIONS.index(action)] += weight * strength
    return {name: table[:, k] * p["intensity"] for k, name in enumerate(ACTIONS)}


def _fixed(p: dict, fixed: dict) -> dict:
    """Put the parameters given by name into p; choices may be given by their names ('round')."""
    for name, value in fixed.items():
        if name not in PARAMETERS:
            raise UserError(f"draw has no parameter {name!r}: it takes {', '.join(PARAMETERS)}")
        names = PARAMETERS[name].names
        if isinstance(value, str) and value in names:
            value = names.index(value)
        number = float(value) if isinstance(value, numbers.Real) else np.nan
        sound = np.isfinite(number) and (name != "scale" or number > 0)
        if not sound or (names and number not in range(len(names))):
            expected = f"one of {', '.join(names)}" if names else "a finite number" + " above 0" * (name == "scale")
            raise UserError(f"{name}={fixed[name]!r} makes no face: give {expected}")
        p[name] = np.full_like(p[name], number)
    return p


def render(p: dict, actions: dict, height: int, width: int, place, noise=None) -> np.ndarray:
    """N faces with parameters p -> uint8 (N,height,width).

    place: x, y in pixels of the point between the eyes, and pixels per face unit; three arrays (N,)."""
    n = len(p["skin"])
    canvases = np.empty((n, height, width), np.float32)
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = (u + 0.5) / width - 0.5, (v + 0.5) / height - 0.5
    ground = [np.asarray(p[k], np.float32)[:, None, None] for k in ("backdrop", "backdrop_slope_x", "backdrop_slope_y")]
    canvases[:] = ground[0] * (1 + ground[1] * u * 2 + ground[2] * v * 2)
    Portrait(p, actions, place, height, width).build().paint(canvases)
    light, contrast, sigma = (np.asarray(p[k], np.float32)[:, None, None] for k in ("light", "contrast", "noise"))
    canvases = (canvases - np.float32(0.5)) * contrast + np.float32(0.5) + light
    if noise is not None:
        canvases += sigma * noise
    return (np.clip(canvases, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _place(p: dict, size: int):
    """Where the faces lie in pictures of size x size -> x, y of the point between the eyes, pixels per face unit."""
    radius = FRAMING * size * p["scale"]
    roll = np.radians(p["roll"])
    x = size * (0.5 + p["shift_x"]) + radius * CENTRE_Y * np.sin(roll)
    y = size * (0.5 + p["shift_y"]) - radius * CENTRE_Y * np.cos(roll)
    return x, y, radius


def _habits(actions: dict, rng, n: int) -> dict:
    return {name: value + HABITS * rng.standard_normal(n) for name, value in actions.items()}


def _check_size(size: int) -> None:
    if not 8 <= size <= 4096:
        raise UserError(f"a face of {size} pixels cannot be drawn: give a size from 8 to 4096")


def draw(size: int, expression="neutral", rng: np.random.Generator | None = None, **fixed) -> np.ndarray:
    """One drawn face -> uint8 (size, size).

    expression: one of LABELS, or a mixture such as {"happy": 0.5, "surprise": 0.5}. Without rng the plain face, with it
    a random one; `fixed` sets single parameters by name (see PARAMETERS): yaw, roll, scale, light, skin, hair, glasses,
    beard, occlusion, noise, intensity ... UserError for a name that does not exist."""
    _check_size(size)
    p = _fixed(plain_parameters(1) if rng is None else random_parameters(1, rng), fixed)
    actions = actions_of([expression], p)
    noise = None
    if rng is not None:
        actions = _habits(actions, rng, 1)
        noise = rng.standard_normal((1, size, size), np.float32)
    elif p["noise"][0] > 0:
        noise = np.random.default_rng(0).standard_normal((1, size, size), np.float32)
    return render(p, actions, size, size, _place(p, size), noise)[0]


def scene(height: int, width: int, expression="neutral", *, x=None, y=None, face=None, **fixed) -> np.ndarray:
    """A drawn face with shoulders in a larger picture -> uint8 (height, width), such as a camera's frame.

    x, y: the face's middle in pixels (default: the picture's), face: its width, cheek to cheek, in pixels (default: a
    third of the height). Other parameters as in `draw`; call it again with others and the face moves."""
    p = _fixed(plain_parameters(1), {"background": "room", **fixed})
    face = height / 3 if face is None else face
    if not face > 0:
        raise UserError(f"a face {face} pixels wide cannot be drawn: give a width above 0")
    radius = np.array([face / 1.5])
    x, y = width / 2 if x is None else x, height / 2 if y is None else y
    return render(p, actions_of([expression], p), height, width,
                  (np.array([float(x)]), np.array([float(y)]) - CENTRE_Y * radius, radius))[0]


def toyfaces(n: int, rng: np.random.Generator, size: int = 48) -> Dataset:
    """n drawn faces, uint8 (size, size), the seven expressions equally often, split 80/10/10 -> Dataset.

    The same state of rng gives the same bits. UserError when n is too small to give each split every expression."""
    if n < 70:
        raise UserError(f"toyfaces of {n} pictures: give 70 or more, so that each split holds all seven expressions")
    counts = [n - 2 * (n // 10), n // 10, n // 10]
    splits = []
    for name, count in zip(("train", "val", "test"), counts, strict=True):
        labels = rng.permutation(np.arange(count) % len(LABELS))
        splits.append(Split(draw_many(labels, rng, size), labels.astype(np.int64), name))
    text = f"toy faces: {n:,} drawn pictures of {size}x{size}, " + ", ".join(f"{s.name} {len(s):,}" for s in splits)
    info = Info(source="toyfaces", layout="drawn", text=text + "; for drawn faces only", toy=True)
    return Dataset(splits[0], splits[1], splits[2], info)


def draw_many(labels: np.ndarray, rng: np.random.Generator, size: int = 48, **fixed) -> np.ndarray:
    """Random faces with the expressions of labels (N,), indices into LABELS -> uint8 (N,size,size)."""
    _check_size(size)
    images = np.empty((len(labels), size, size), np.uint8)
    chunk = max(1, min(512, 2 ** 21 // size ** 2))
    for start in range(0, len(labels), chunk):
        part = labels[start:start + chunk]
        p = _fixed(random_parameters(len(part), rng), fixed)
        actions = _habits(actions_of([LABELS[k] for k in part], p), rng, len(part))
        noise = rng.standard_normal((len(part), size, size), np.float32)
        images[start:start + chunk] = render(p, actions, size, size, _place(p, size), noise)
    return images


# `from tinyfer import data` gives the function under the module's name: let it lead to the other ways of drawing too
toyfaces.draw, toyfaces.scene = draw, scene   # type: ignore[attr-defined]
