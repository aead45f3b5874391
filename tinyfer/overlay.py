"""What is drawn over a picture: a box and a label for each face, seven bars where there is room, a line of small print.

    annotate(picture, faces, note="for drawn faces only").save("answer.png")

The shapes are drawn by a pen, of which there are two: `_Pen` here, for photos, and that of live/hud.py, for frames.

The colours follow Okabe and Ito's (Color Universal Design, 2008), moved a little so that people with any kind of colour
vision tell them apart on dark ground (a test holds it). They belong to the expressions, whatever their order; and
nothing is told by colour alone."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

from tinyfer.detectors import Box
from tinyfer.faces import Face

COLOURS = {"angry": "#c0450a", "disgust": "#00a077", "fear": "#d883b4", "happy": "#f6ec55", "sad": "#4c80ee",
           "surprise": "#f2900c", "neutral": "#dde1e6"}
INK, PAPER, FAINT, AMBER = "#14181d", "#f4f5f6", "#9aa3ad", "#f2b84b"
PANEL, TROUGH = (20, 24, 29, 205), (58, 65, 74, 225)
SMALL, LARGE = 720, 2000  # a copy's longest side: smaller pictures are enlarged to the one, larger shrunk to the other
FINE = 2  # drawn twice as large and shrunk, which smooths edges
SMALL_PRINT = "expression is not emotion"


def colour(label: str) -> str:
    """The colour of an expression, as #rrggbb; of anything else ("uncertain"), a faint grey."""
    return COLOURS.get(label, FAINT)


def annotate(picture: Image.Image, faces: Sequence[Face], note: str = "") -> Image.Image:
    """A copy of the picture, "RGB", with what was read in it; note: what to add to the small print below.

    It is enlarged or shrunk until the writing is legible. A face that leaves no room beside it gets its bars on a strip
    to the right of the picture."""
    base, scale = _resized(picture.convert("RGB"))
    unit = max(base.size) / 48  # the height of a line of normal writing
    boxes = [face.box.scaled(scale) for face in faces]
    strip = round(17 * unit) if len(faces) == 1 and not _roomy(base, boxes[0], unit) else 0
    foot = round(1.9 * unit)
    canvas = Image.new("RGB", (base.width + strip, base.height + foot), INK)
    canvas.paste(base)
    layer = Image.new("RGBA", (canvas.width * FINE, canvas.height * FINE), (*rgb(INK), 0))
    pen = _Pen(ImageDraw.Draw(layer))
    if strip:
        outline(pen, boxes[0], faces[0], unit)
        _card(pen, faces[0], Box(base.width, 0, strip, base.height), unit)
    else:
        _draw_faces(pen, faces, boxes, base.size, unit)
    _small_print(pen, faces, note, Box(0, base.height, canvas.width, foot), unit)
    layer = layer.resize(canvas.size, Image.Resampling.BOX)
    canvas.paste(layer, (0, 0), layer)
    return canvas


def _resized(picture: Image.Image) -> tuple[Image.Image, float]:
    longest = max(picture.size)
    scale = 1.0
    if longest < SMALL:
        scale = float(-(-SMALL // longest))
    elif longest > LARGE:
        scale = LARGE / longest
    size = [max(1, round(side * scale)) for side in picture.size]
    way = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return picture.resize(size, way) if scale != 1 else picture, scale


def rgb(colour: str) -> tuple[int, ...]:
    """#rrggbb -> red, green, blue."""
    return tuple(bytes.fromhex(colour[1:]))


class Pen(Protocol):
    """What draws. Colours are #rrggbb, or (red, green, blue, opacity), all 0 to 255; anchors are Pillow's."""

    def box(self, box: Box, fill=None, outline=None, width: float = 0.0, radius: float = 0.0) -> None:
        """A rectangle with round corners, filled or as a line that lies inside."""

    def text(self, x: float, y: float, text: str, size: float, fill: str, anchor: str = "lm") -> None:
        """One line of writing."""


class _Pen:
    """Draws in the canvas's pixels on a layer FINE times as large."""

    def __init__(self, draw: ImageDraw.ImageDraw):
        self.draw = draw

    def box(self, box: Box, fill=None, outline=None, width=0.0, radius=0.0):
        corners = [FINE * box.x, FINE * box.y, FINE * (box.x + box.w) - 1, FINE * (box.y + box.h) - 1]
        if box.w > 0 and box.h > 0:
            self.draw.rounded_rectangle(corners, FINE * radius, fill, outline, max(1, round(FINE * width)))

    def text(self, x: float, y: float, text: str, size: float, fill: str, anchor: str = "lm"):
        self.draw.text((FINE * x, FINE * y), text, fill, font(round(FINE * size)), anchor)


@functools.cache
def font(size: int):
    """The font of all writing, Pillow's own."""
    return ImageFont.load_default(max(size, 4))


@functools.lru_cache(4096)
def text_width(text: str, size: float) -> float:
    """How wide a text is when it is written in this size."""
    return font(round(FINE * size)).getlength(text) / FINE


# --------------------------------------------------------------------------------------------------------- many faces


def _draw_faces(pen: Pen, faces: Sequence[Face], boxes: list[Box], size: tuple[int, int], unit: float) -> None:
    """Outlines, then labels, then bars, the larger faces first, each where it covers nothing drawn before."""
    order = sorted(range(len(faces)), key=lambda i: -boxes[i].area)
    taken = list(boxes)
    for i in order:
        outline(pen, boxes[i], faces[i], unit)
    chips = {}
    for i in order:
        chips[i] = label(pen, faces[i], boxes[i], taken, size, unit)
        taken.append(chips[i])
    for i, panel in _panels(order, boxes, chips, taken, size, unit).items():
        pen.box(panel, PANEL, radius=0.07 * panel.h)
        bars(pen, faces[i], panel)


def outline(pen: Pen, box: Box, face: Face, unit: float) -> None:
    line = max(1.5, min(0.12 * unit, box.w / 24))
    halo = Box(round(box.x - line), round(box.y - line), round(box.w + 2 * line), round(box.h + 2 * line))
    pen.box(halo, outline=(*rgb(INK), 140), width=3 * line, radius=3 * line)
    pen.box(box, outline=colour(face.shown), width=line, radius=2 * line)


def label(pen: Pen, face: Face, box: Box, taken: list[Box], size: tuple[int, int], unit: float) -> Box:
    """Write the label's chip above, below or inside the box, shortened where it would cover another; where it lies."""
    text = max(0.55 * unit, min(unit, box.w / 6))
    places = []
    for words in (f"{face.shown} {100 * face.probability:.0f} %", face.shown):
        w, h = round(text_width(words, text) + text), round(1.45 * text)
        x = min(max(box.x, 0), max(size[0] - w, 0))
        centred = min(max(box.x + (box.w - w) // 2, 0), max(size[0] - w, 0))
        for left in (x, centred):
            places += [(words, Box(left, box.y - h, w, h)), (words, Box(left, box.y + box.h, w, h))]
    others = [other for other in taken if other != box]
    free = set(_free((place for _, place in places), others, size))
    words, chip = next((one for one in places if one[1] in free), (places[-2][0], _inside(places[-2][1], size)))
    pen.box(chip, colour(face.shown), radius=0.25 * chip.h)
    pen.text(chip.x + chip.w / 2, chip.y + chip.h / 2, words, text, INK, "mm")
    return chip


def _inside(box: Box, size: tuple[int, int]) -> Box:
    return Box(max(0, min(box.x, size[0] - box.w)), max(0, min(box.y, size[1] - box.h)), box.w, box.h)


def _free(places: Iterable[Box], taken: list[Box], size: tuple[int, int]) -> Iterator[Box]:
    """Those places that lie within the picture and cover nothing."""
    for place in places:
        if place == place.clipped(size[1], size[0]) and not any(place.shared(other) for other in taken):
            yield place


def _panels(order: list[int], boxes: list[Box], chips: dict[int, Box], taken: list[Box], size: tuple[int, int],
            unit: float) -> dict[int, Box]:
    """Where the faces' bars go: all of one size, the largest at which every face gets its own, or else the most do.

    None at all in a crowd, where they would hide more than they tell."""
    best: dict[int, Box] = {}
    for line in (1.1 * unit, 0.9 * unit, 0.75 * unit, 0.62 * unit):
        line = min(line, max(0.62 * unit, max((box.h for box in boxes), default=0) / 7.6))
        w, h = round(8.6 * line), round(7.6 * line)
        if len(boxes) * w * h > 0.25 * size[0] * size[1]:
            continue
        placed: dict[int, Box] = {}
        for i in order:
            for place in _free(_beside(boxes[i], chips[i], w, h), [*taken, *placed.values()], size):
                placed[i] = place
                break
        best = max(best, placed, key=len)
    return best


def _beside(box: Box, chip: Box, w: int, h: int) -> Iterator[Box]:
    gap = max(2, h // 24)
    bottom = max(box.y + box.h, chip.y + chip.h)
    for y in (box.y, box.y + box.h - h):
        yield Box(box.x + box.w + gap, y, w, h)
        yield Box(box.x - gap - w, y, w, h)
    yield Box(box.x + (box.w - w) // 2, bottom + gap, w, h)


def _roomy(base: Image.Image, box: Box, unit: float) -> bool:
    """Whether one face leaves room for its bars at its side."""
    w = 9 * min(max(box.h / 7.6, 0.62 * unit), 1.1 * unit)
    return max(box.x, base.width - box.x - box.w) >= w and box.h < 0.9 * base.height


def bars(pen: Pen, face: Face, area: Box, letters: float = 0.72) -> None:
    """Seven rows: name, bar, percent; in the labels' order, never in that of size. letters: their size, in rows."""
    line = area.h / (len(face.probabilities) + 0.6)
    text = letters * line
    names = max(text_width(name, text) for name in face.probabilities)
    left = area.x + 0.4 * line + names + 0.35 * line
    room = area.x + area.w - 0.4 * line - text_width("100", text) - 0.25 * line - left
    most = max(face.probabilities.values())
    for row, (name, chance) in enumerate(face.probabilities.items()):
        y = area.y + (row + 0.8) * line
        fill = PAPER if name == face.label or chance == most else FAINT  # a live label may wait before it changes
        pen.text(left - 0.35 * line, y, name, text, fill, "rm")
        pen.box(Box(round(left), round(y - 0.3 * line), round(room), round(0.6 * line)), TROUGH,
                radius=0.12 * line)
        pen.box(Box(round(left), round(y - 0.3 * line), round(max(room * chance, 1)), round(0.6 * line)), colour(name),
                radius=0.12 * line)
        pen.text(area.x + area.w - 0.4 * line, y, f"{100 * chance:.0f}", text, fill, "rm")


# ----------------------------------------------------------------------------------------------------------- one face


def _card(pen: Pen, face: Face, area: Box, unit: float) -> None:
    """The strip beside a picture that is all face: label, percentage and bars."""
    pad = 0.9 * unit
    line = min(1.7 * unit, (area.h - 4.6 * unit) / 7.6)
    place = Box(round(area.x + 0.3 * unit), 0, round(area.w - 0.6 * unit), round(7.6 * line))
    top = max(0.4 * unit, (area.h - place.h - 4 * unit) / 2)
    pen.text(area.x + pad, top + 1.1 * unit, face.label, 1.75 * unit, colour(face.label))
    pen.text(area.x + pad, top + 2.9 * unit, f"{100 * face.probability:.0f} %", 1.15 * unit, PAPER)
    bars(pen, face, place._replace(y=round(top + 4 * unit)))


def _small_print(pen: Pen, faces: Sequence[Face], note: str, area: Box, unit: float) -> None:
    """The line below: what it is not, what the model is for."""
    pen.box(area, INK)
    y, size = area.y + area.h / 2, 0.85 * unit
    left = SMALL_PRINT if faces else f"no face · {SMALL_PRINT}"
    room = area.w - 1.8 * unit
    size *= min(1.0, room / max(text_width(left + "   " + note, size), 1))
    pen.text(area.x + 0.8 * unit, y, left, size, FAINT)
    pen.text(area.x + area.w - 0.8 * unit, y, note, size, AMBER, "rm")
