"""What is drawn over a frame and beside it: boxes and labels on the faces, and a strip at the right with a card for
each face (what the network sees of it, its expression, seven bars), the frame rate and where the time goes.

    canvas = draw(frame, view, Status(...))      # uint8 BGR, larger than the frame: a window or a video shows it

Nothing that belongs to the picture is covered but by the boxes and labels; writing grows with the frame. It is drawn
straight into the frame's bytes, with letters and corners kept from earlier frames: photos take their time
(tinyfer/overlay.py), frames have a few milliseconds."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from tinyfer import overlay
from tinyfer.detectors import Box, opencv
from tinyfer.live.session import LiveFace, View
from tinyfer.overlay import AMBER, FAINT, INK, PAPER, TROUGH, rgb, text_width

LOW, HIGH = 480, 1080  # rows of a frame as shown: smaller ones are enlarged, larger ones shrunk
LINES = 30  # of writing, in the height of a frame
STRIP = 14.5  # width of the strip, in lines
CARD, RED = "#1d232a", "#e5484d"
SHADE = (*rgb(INK), 200)
KEYS = (("q, Esc", "quit"), ("p, space", "pause"), ("s", "snapshot"), ("r", "record"), ("m", "mirror"),
        ("b", "bars"), ("h", "heat map"), ("d", "detector"), ("+  -", "smoothing"), ("?", "this help"))
SMALL_PRINT = f"{overlay.SMALL_PRINT} · local only"
SMALL = 6000  # pixels up to which a box is painted at one go
HEAT = 0.62  # opacity of a heat map where it is strongest


@dataclass(frozen=True)
class Status:
    """What the display says besides the faces.

    model, source: their names. note: what the model is for, or "". fps: frames a second, rates: milliseconds by stage.
    toast: what has just happened; warning: what is wrong. recording: seconds recorded so far. heat: a map (h,w) 0 to 1
    for each track."""

    model: str = ""
    source: str = ""
    note: str = ""
    fps: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)
    bars: bool = True
    mirror: bool = False
    help: bool = False
    paused: bool = False
    recording: float | None = None
    toast: str = ""
    warning: str = ""
    heat: Mapping[int, np.ndarray] | None = None


def draw(frame: np.ndarray, view: View, status: Status) -> np.ndarray:
    """The frame uint8 (H,W,3) BGR with all that is to be shown -> a new picture, uint8 BGR."""
    canvas, size, scale = _canvas(frame, status)
    pen = FramePen(canvas)
    height, width = size
    unit = _unit(height, width)
    faces = [_shown(face, scale, frame.shape[1] if status.mirror else None) for face in view.faces]
    if status.heat is not None:
        for face in faces:
            if face.track in status.heat:
                _heat(canvas[:height, :width], face.region, status.heat[face.track], status.mirror)
    _draw_boxes(FramePen(canvas[:height, :width]), faces, (width, height), unit)
    _draw_marks(pen, status, (width, height), unit)
    if status.bars:
        _draw_strip(pen, faces, status, Box(width, 0, canvas.shape[1] - width, height), unit)
    if status.help:
        _draw_help(pen, (width, height), unit)
    return canvas


def _unit(height: int, width: int) -> float:
    """Height of a line of writing."""
    return min(height, 1.4 * width) / LINES


def _canvas(frame: np.ndarray, status: Status) -> tuple[np.ndarray, tuple[int, int], float]:
    """A picture with the frame at its left, mirrored and scaled as it is shown; the frame's height and width in it; and
    how many times larger it is there."""
    cv2 = opencv()
    height, width = frame.shape[:2]
    scale = LOW / height if height < LOW else min(HIGH / height, 1.0)
    scale = min(scale, 2 * HIGH / width)
    if scale != 1:
        height, width = max(1, round(scale * height)), max(1, round(scale * width))
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    strip = round(STRIP * _unit(height, width)) if status.bars else 0
    canvas = np.empty((height, width + strip, 3), np.uint8)
    if status.mirror:
        cv2.flip(frame, 1, dst=canvas[:, :width])
    else:
        canvas[:, :width] = frame
    canvas[:, width:] = rgb(INK)[::-1]
    return canvas, (height, width), scale


def _shown(face: LiveFace, scale: float, mirror_width: int | None) -> LiveFace:
    """The face with box and region as they lie in what is shown."""
    def moved(box: Box) -> Box:
        return (box if mirror_width is None else box.mirrored(mirror_width)).scaled(scale)
    return LiveFace(moved(face.box), face.probabilities, face.label, face.crop, track=face.track,
                    uncertain=face.uncertain, seen=face.seen, region=moved(face.region))


# ------------------------------------------------------------------------------------------------------- on the picture


def _draw_boxes(pen: FramePen, faces: Sequence[LiveFace], size: tuple[int, int], unit: float) -> None:
    taken = [face.box for face in faces]
    for face in faces:
        overlay.outline(pen, face.box, face, unit)
    for face in faces:
        if face.seen:
            taken.append(overlay.label(pen, face, face.box, taken, size, 1.15 * unit))


def _heat(picture: np.ndarray, region: Box, heat: np.ndarray, mirror: bool) -> None:
    """Lay a heat map (h,w), 0 to 1, over a region: cool colours where nothing spoke for the label, warm where much."""
    cv2 = opencv()
    inside = region.clipped(*picture.shape[:2])
    if not inside.area:
        return
    if mirror:
        heat = np.ascontiguousarray(heat[:, ::-1])
    large = cv2.resize(heat.astype(np.float32), (region.w, region.h), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    top, left = inside.y - region.y, inside.x - region.x
    large = large[top:top + inside.h, left:left + inside.w]
    colours = cv2.applyColorMap((255 * large).astype(np.uint8), cv2.COLORMAP_INFERNO)
    part = picture[inside.y:inside.y + inside.h, inside.x:inside.x + inside.w]
    share = (HEAT * np.sqrt(large))[..., None]
    part[:] = (part + share * (colours.astype(np.float32) - part)).astype(np.uint8)


def _draw_marks(pen: FramePen, status: Status, size: tuple[int, int], unit: float) -> None:
    """Chips at the picture's edges: recording and paused above, what the model is for below, news in the middle."""
    width, height = size
    x = y = 0.6 * unit
    if status.recording is not None:
        minutes, seconds = divmod(int(status.recording), 60)
        words = f"REC {minutes}:{seconds:02d}"
        chip = _chip(pen, x, y, words, unit, RED, indent=1.0 * unit)
        dot = round(0.55 * unit)
        pen.box(Box(round(chip.x + 0.5 * unit), chip.y + (chip.h - dot) // 2, dot, dot), fill=RED, radius=dot / 2)
        x = chip.x + chip.w + 0.4 * unit
    if status.paused:
        _chip(pen, x, y, "paused", unit, PAPER)
    bottom = height - 2.2 * unit
    if status.note:
        _chip(pen, 0.6 * unit, bottom, status.note, unit, AMBER)
    if not status.bars and status.fps:
        words = f"{status.fps:.0f} frames/s"
        _chip(pen, width - text_width(words, 0.9 * unit) - 1.6 * unit, bottom, words, unit, PAPER)
    for words, colour, line in ((status.warning, AMBER, 0.6 * unit), (status.toast, PAPER, bottom - 2.2 * unit)):
        if words:
            fitted = min(1.0, (width - 3 * unit) / text_width(words, 0.9 * unit))
            _chip(pen, (width - fitted * text_width(words, 0.9 * unit)) / 2 - 0.6 * unit, line, words, fitted * unit,
                  colour)


def _chip(pen: FramePen, x: float, y: float, words: str, unit: float, colour: str, indent: float = 0.0) -> Box:
    size = 0.9 * unit
    chip = Box(round(x), round(y), round(text_width(words, size) + 1.2 * unit + indent), round(1.6 * unit))
    pen.box(chip, fill=SHADE, radius=0.3 * chip.h)
    pen.text(chip.x + 0.6 * unit + indent, chip.y + chip.h / 2, words, size, colour)
    return chip


def _draw_help(pen: FramePen, size: tuple[int, int], unit: float) -> None:
    line = 1.5 * unit
    panel = Box(0, 0, round(15 * unit), round((len(KEYS) + 1) * line))
    panel = panel._replace(x=max(0, (size[0] - panel.w) // 2), y=max(0, (size[1] - panel.h) // 2))
    pen.box(panel, fill=(*rgb(INK), 246), radius=0.6 * unit)
    for row, (key, what) in enumerate(KEYS):
        y = panel.y + (row + 1) * line
        pen.text(panel.x + 5.4 * unit, y, key, unit, PAPER, "rm")
        pen.text(panel.x + 6.6 * unit, y, what, unit, FAINT)


# --------------------------------------------------------------------------------------------------- beside the picture


def _draw_strip(pen: FramePen, faces: Sequence[LiveFace], status: Status, area: Box, unit: float) -> None:
    foot = Box(area.x, area.y + area.h - round(4.7 * unit), area.w, round(4.7 * unit))
    _draw_foot(pen, status, foot, unit)
    room = area._replace(h=area.h - foot.h)
    if not faces:
        x, y = room.x + room.w / 2, room.y + 0.42 * room.h
        pen.text(x, y, "no face", 1.3 * unit, PAPER, "mm")
        pen.text(x, y + 1.6 * unit, "seen from the front, in good light", 0.78 * unit, FAINT, "mm")
        return
    gap = 0.35 * unit
    least = 7.9 * unit  # of a card with bars
    whole = len(faces) * (least + gap) <= room.h
    most = max(1, int(room.h // ((least if whole else 3.0 * unit) + gap)))
    each = min((room.h - gap) / min(len(faces), most) - gap, 15.5 * unit if whole else 3.4 * unit)
    for row, face in enumerate(faces[:most]):
        card = Box(round(room.x + gap), round(room.y + gap + row * (each + gap)), round(room.w - 2 * gap), round(each))
        _draw_card(pen, face, card, unit, bars=whole)


def _draw_card(pen: FramePen, face: LiveFace, card: Box, unit: float, bars: bool) -> None:
    """What the network sees, what it says, and how sure it is of each expression."""
    pen.box(card, fill=CARD, radius=0.4 * unit)
    pad = 0.4 * unit
    thumb = round(min(max(0.45 * card.h - 1.4 * unit, 2.1 * unit), 5 * unit) if bars else card.h - 2 * pad)
    pen.picture(Box(round(card.x + pad), round(card.y + pad), thumb, thumb), face.crop)
    x, middle = card.x + thumb + 2.2 * pad, card.y + pad + thumb / 2
    size = min(1.5 * unit, 0.5 * thumb, 1.5 * unit * (card.x + card.w - pad - x) / text_width(face.shown, 1.5 * unit))
    pen.text(x, middle - 0.24 * thumb, face.shown, size, overlay.colour(face.shown))
    chance = f"{face.label}? " * face.uncertain + f"{100 * face.probability:.0f} %"
    pen.text(x, middle + 0.28 * thumb, chance, 0.68 * size if face.uncertain else 0.8 * size, PAPER)
    pen.text(card.x + card.w - pad, middle + 0.28 * thumb, f"#{face.track}", 0.72 * unit, FAINT, "rm")
    if bars:
        top = round(card.y + pad + thumb)
        overlay.bars(pen, face, Box(card.x, top, card.w, card.y + card.h - top), letters=0.85)


def _draw_foot(pen: FramePen, status: Status, area: Box, unit: float) -> None:
    """Frame rate, where the time goes, model and source, small print."""
    left, right, size = area.x + 0.7 * unit, area.x + area.w - 0.7 * unit, 0.78 * unit
    pen.box(Box(round(left), area.y, round(right - left), max(1, round(0.06 * unit))), fill=TROUGH)
    pen.text(left, area.y + 0.95 * unit, f"{status.fps:.0f} frames/s" if status.fps else "", 1.0 * unit, PAPER)
    pen.text(right, area.y + 0.95 * unit, "? help", size, FAINT, "rm")
    _fitted(pen, left, area.y + 2.05 * unit, right - left,
            "   ".join(f"{stage} {1e3 * seconds:.0f}" for stage, seconds in status.rates.items()) + " ms", size)
    _fitted(pen, left, area.y + 3.0 * unit, right - left, f"{status.model} · {status.source}", size)
    _fitted(pen, left, area.y + 3.95 * unit, right - left, SMALL_PRINT, size)


def _fitted(pen: FramePen, x: float, y: float, room: float, words: str, size: float) -> None:
    """A line of small writing, made smaller where it is too long, and cut where it would get too small."""
    while text_width(words, size) > room and size > 8.5:
        size *= 0.96
    while text_width(words, size) > room and len(words) > 4:
        words = words[:-4] + "..."
    pen.text(x, y, words, size, FAINT)


# ------------------------------------------------------------------------------------------------------------- the pen


class FramePen:
    """Draws into a frame, uint8 (H,W,3) BGR (an overlay.Pen): what is drawn again and again is kept as a mask."""

    def __init__(self, canvas: np.ndarray):
        self.canvas = canvas

    def box(self, box: Box, fill=None, outline=None, width: float = 0.0, radius: float = 0.0) -> None:
        if box.w <= 0 or box.h <= 0:
            return
        r = max(0, min(round(radius), box.w // 2, box.h // 2))
        if fill is not None and box.area < SMALL:
            self._stamp(box.x, box.y, _rounded(box.w, box.h, r), *_paint(fill))
        elif fill is not None:
            bgr, opacity = _paint(fill)
            self._fill(Box(box.x, box.y + r, box.w, box.h - 2 * r), bgr, opacity)
            for y in (box.y, box.y + box.h - r):
                self._fill(Box(box.x + r, y, box.w - 2 * r, r), bgr, opacity)
            self._corners(box, _corner(r, 0), r, bgr, opacity)
        if outline is not None:
            bgr, opacity = _paint(outline)
            line = max(1, min(round(width), box.w // 2, box.h // 2))
            r = max(r, line)
            for y in (box.y, box.y + box.h - line):
                self._fill(Box(box.x + r, y, box.w - 2 * r, line), bgr, opacity)
            for x in (box.x, box.x + box.w - line):
                self._fill(Box(x, box.y + r, line, box.h - 2 * r), bgr, opacity)
            self._corners(box, _corner(r, line), r, bgr, opacity)

    def text(self, x: float, y: float, text: str, size: float, fill: str, anchor: str = "lm") -> None:
        mask, left, top = _letters(text, round(size), anchor)
        self._stamp(round(x) + left, round(y) + top, mask, _paint(fill)[0], 255)

    def picture(self, box: Box, grey: np.ndarray) -> None:
        """A grey picture (h,w), enlarged so that its pixels can be seen."""
        inside = box.clipped(*self.canvas.shape[:2])
        if inside == box and box.area:
            cv2 = opencv()
            large = cv2.resize(grey, (box.w, box.h), interpolation=cv2.INTER_LINEAR if box.w % len(grey) else
                               cv2.INTER_NEAREST)
            self.canvas[box.y:box.y + box.h, box.x:box.x + box.w] = large[..., None]

    def _fill(self, box: Box, bgr: np.ndarray, opacity: int) -> None:
        x, y, w, h = box.clipped(*self.canvas.shape[:2])
        part = self.canvas[y:y + h, x:x + w]
        if opacity == 255:
            part[:] = bgr
        elif part.size:
            part[:] = _blend(part, bgr, np.uint16(opacity))

    def _corners(self, box: Box, mask: np.ndarray, r: int, bgr: np.ndarray, opacity: int) -> None:
        right, bottom = box.x + box.w - r, box.y + box.h - r
        for x, y, corner in ((box.x, box.y, mask), (right, box.y, mask[:, ::-1]), (box.x, bottom, mask[::-1]),
                             (right, bottom, mask[::-1, ::-1])):
            self._stamp(x, y, corner, bgr, opacity)

    def _stamp(self, x: int, y: int, mask: np.ndarray, bgr: np.ndarray, opacity: int) -> None:
        """Paint a colour through a mask (h,w) of 0 to 255, at x, y."""
        box = Box(x, y, mask.shape[1], mask.shape[0])
        left, top, w, h = box.clipped(*self.canvas.shape[:2])
        part = self.canvas[top:top + h, left:left + w]
        if part.size:
            share = mask[top - y:top - y + h, left - x:left - x + w, None]
            part[:] = _blend(part, bgr, share if opacity == 255 else share * np.uint16(opacity) // np.uint16(255))


def _blend(part: np.ndarray, bgr: np.ndarray, share) -> np.ndarray:
    """part (h,w,3) and a colour (3,), both in uint16, mixed: share of the colour, 0 to 255."""
    mixed = part * (np.uint16(255) - share) + bgr * share
    mixed += np.uint16(128)
    return (mixed + (mixed >> np.uint16(8))) >> np.uint16(8)  # divided by 255 and rounded


@functools.lru_cache(4096)
def _paint(colour) -> tuple[np.ndarray, int]:
    """A colour (see overlay.Pen) -> BGR and opacity."""
    parts = rgb(colour) if isinstance(colour, str) else colour
    return np.array(parts[2::-1], np.uint16), parts[3] if len(parts) > 3 else 255


@functools.lru_cache(256)
def _corner(r: int, line: int) -> np.ndarray:
    """The top left corner of a rounded box (r,r) as a mask: filled, or a line of that width."""
    distance = r - np.hypot(*np.mgrid[0.5 - r:0.5:1, 0.5 - r:0.5:1]) if r else np.zeros((0, 0))
    inside = (distance + 0.5).clip(0, 1)
    if line:
        inside -= (distance - line + 0.5).clip(0, 1)
    return (255 * inside).astype(np.uint16)


@functools.lru_cache(512)
def _rounded(w: int, h: int, r: int) -> np.ndarray:
    """A small rounded box as a mask (h,w)."""
    mask = np.full((h, w), 255, np.uint16)
    corner = _corner(r, 0)
    for part, piece in ((mask[:r, :r], corner), (mask[:r, w - r:], corner[:, ::-1]), (mask[h - r:, :r], corner[::-1]),
                        (mask[h - r:, w - r:], corner[::-1, ::-1])):
        part[:] = piece
    return mask


@functools.lru_cache(1024)
def _letters(text: str, size: int, anchor: str) -> tuple[np.ndarray, int, int]:
    """A line of writing as a mask (h,w), and where its top left corner lies from the anchor."""
    fine = overlay.FINE  # drawn larger and shrunk: letters keep their distances
    font = overlay.font(fine * size)
    left, top, right, bottom = (int(side) // fine for side in font.getbbox(text or " ", anchor=anchor))
    left, top = left - 1, top - 1
    image = Image.new("L", (fine * max(1, right - left + 2), fine * max(1, bottom - top + 2)))
    ImageDraw.Draw(image).text((-fine * left, -fine * top), text, 255, font, anchor)
    return np.asarray(image.reduce(fine), np.uint16), left, top
