"""Drawn frames, the square about the face, the crop, what the network sees, and where it looks (Grad-CAM)."""

import time

import numpy as np
from matplotlib.patches import Rectangle

from tinyfer import data, evaluation, faces, infer, models, ops, plots
from tinyfer.detectors import Box
from tinyfer.gradcam import GradCam

HEIGHT, WIDTH = 300, 400
BOX = 4 / 3 / (1 + faces.MARGIN)  # a detector's box beside a drawn face's width, cheek to cheek
FRAMES = (  # expression, middle and width of the face, how it looks, and how narrow its box is
    ("happy", 190, 150, 120, {"hair": "short", "skin": 0.72}, 1.0),
    ("surprise", 352, 96, 140, {"hair": "fringe", "hair_tone": 0.12, "skin": 0.6}, 0.72),
    ("sad", 96, 222, 66, {"hair": "bald", "beard": "full", "skin": 0.78}, 0.72),
)


def drawn(label, x, y, width, looks, narrow=1.0):
    """A frame with a drawn face, and the box that a detector would put around it."""
    side = round(BOX * width)
    box = Box(x - round(narrow * side) // 2, y - side // 2, round(narrow * side), side)
    return data.toyfaces.scene(HEIGHT, WIDTH, label, x=x, y=y, face=width, **looks), box


def seen(mine, frame, box, size=48):
    """The student's way: the square, the crop, and the pixels that the network reads."""
    left, top, side = mine.square(tuple(box), faces.MARGIN)
    crop = mine.square_crop(frame, left, top, side)
    return (left, top, side), crop, mine.resize_area(crop, size)


def draw(mine):
    model = models.load("toy")
    explain, plan = GradCam(model), infer.Plan(model, 1)
    figure = plots.empty_figure(13, 7.6)
    grid = figure.subplots(len(FRAMES), 5, width_ratios=(1.45, 1, 1, 1, 1))
    for row, (label, *place, looks, narrow) in zip(grid, FRAMES, strict=True):
        frame, box = drawn(label, *place, looks, narrow)
        place, crop, small = seen(mine, frame, box, model.preprocess.size)
        inputs = model.preprocess(small[None])
        chances = ops.softmax(plan(inputs))[0]
        heat = explain(inputs, [chances.argmax()])[0]
        draw_frame(row[0], frame, box, place)
        picture(row[1], crop, f"{len(crop)} x {len(crop)}")
        picture(row[2], small, f"{len(small)} x {len(small)}")
        draw_heat(row[3], small, heat)
        draw_bars(row[4], model.labels, chances)
    heads = ("box (blue), square (orange)", "square_crop", "what the network sees", "where it looks", "its answer")
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, loc="left", fontsize=11, color=plots.INK)
    return figure


def picture(axes, pixels, below):
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(below, fontsize=9, color=plots.INK)


def draw_frame(axes, frame, box, place):
    """The frame with room around it, so that a square beyond its edge can be seen."""
    left, top, side = place
    picture(axes, frame, f"frame {WIDTH} x {HEIGHT}, box {box.w} x {box.h}, square {side}")
    axes.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor=plots.ORANGE, linewidth=2.6))
    axes.add_patch(Rectangle((box.x, box.y), box.w, box.h, fill=False, edgecolor="#56B4E9", linewidth=1.3))
    axes.set_xlim(-30, WIDTH + 60)
    axes.set_ylim(HEIGHT + 20, -20)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_heat(axes, small, heat):
    """Grad-CAM over the picture: light is what spoke for the answer."""
    picture(axes, small, f"Grad-CAM, {len(heat)} x {len(heat)}")
    edge = len(small) - 0.5
    axes.imshow(
        heat, cmap="inferno", alpha=0.55, vmin=0, vmax=1, interpolation="bicubic", extent=(-0.5, edge, edge, -0.5)
    )


def draw_bars(axes, labels, chances):
    colours = [plots.ORANGE if chance == chances.max() else "#CFE3F0" for chance in chances]
    axes.barh(range(len(labels)), 100 * chances, color=colours)
    for i, chance in enumerate(chances):
        axes.text(100 * chance + 2, i, f"{100 * chance:.0f}", va="center", fontsize=8, color=plots.INK)
    axes.set_yticks(range(len(labels)), labels, fontsize=8.5, color=plots.INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 118)
    axes.set_xticks([])
    axes.set_xlabel("per cent", fontsize=9, color=plots.INK)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


# -------------------------------------------------------------------------------------------------------------- try 14

FRAMES_TRIED, OFTEN = 140, 20  # drawn frames; and how often one of them is prepared to tell the time


def try_it(mine, say):
    """Random faces in drawn frames through the student's functions, beside the engine's own way."""
    model, rng = models.load("toy"), np.random.default_rng(14)
    size = model.preprocess.size
    say(f"{FRAMES_TRIED} drawn frames of {WIDTH} x {HEIGHT}, the shipped network for drawn faces ({size} x {size})")
    labels, yours, ours = rng.integers(0, 7, FRAMES_TRIED), [], []
    for label in labels:
        width = int(rng.integers(30, 200))
        x, y = int(rng.integers(0.3 * width, WIDTH - 0.3 * width)), int(rng.integers(0.5 * width, HEIGHT - 0.4 * width))
        frame, box = drawn(model.labels[label], x, y, width, {"skin": rng.uniform(0.5, 0.8)})
        yours.append(seen(mine, frame, box, size)[2])
        ours.append(faces.prepared(frame, [box], model.preprocess)[0])
    same = sum(np.array_equal(one, other) for one, other in zip(yours, ours, strict=True))
    answers = evaluation.logits(model, data.Split(np.stack(yours), labels, "frames")).argmax(1)
    begun = time.perf_counter()
    for _ in range(OFTEN):
        seen(mine, frame, box)
    each = (time.perf_counter() - begun) / OFTEN
    say(f"  the same 0 .. 255 as the engine's in {same} of {FRAMES_TRIED} crops")
    say(f"  named rightly from your crops: {(answers == labels).sum()} of {FRAMES_TRIED}")
    say(f"  {1000 * each:.1f} ms for one face: {1 / each:,.0f} a second")
    say("now your own face: python -m tinyfer.webcam     (without a camera: --source demo)")
