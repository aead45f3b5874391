"""The ladder of published accuracies with error bars and protocols, a reliability diagram, two ways to be fooled."""

import numpy as np

from tinyfer import data, evaluation, metrics, models, ops, plots, sources
from tinyfer.data import LABELS
from tinyfer.data.toyfaces import draw_many

PUBLIC = np.array([467, 56, 496, 895, 653, 415, 607])  # pictures of each class in FER-2013's PublicTest
HALF, BOTH = 3589, 7178  # pictures of PublicTest, and of PrivateTest; both together
APART, CHOSE, OTHER = plots.BLUE, plots.ORANGE, plots.FAINT

# Who, per cent right, of how many pictures, how tested (the colour), and the protocol in words. Sources: for people and
# the contest Goodfellow et al. 2013 (arXiv:1307.0414); Khaireddin & Chen 2021 (arXiv:2105.03588; which split is which
# stands in their code, usef-kh/fer); otherwise README, paper and code of the repository of that name, and the issues 39
# and 40 of ResEmoteNet's; our own figures are in docs/runs/lite-seed-1 and vgg-second-cycle.
LADDER = (
    ('always "happy"', 100 * 895 / HALF, HALF, APART, "PublicTest"),
    ("five-layer net, weighted loss", 31.3, BOTH, OTHER, "both tests together; a student project's README"),
    ("atulapra", 63.2, BOTH, CHOSE, "both tests together, used as validation"),
    ("people", 65.0, None, OTHER, "65 +- 5: a small informal test"),
    ("oarriaga mini-XCEPTION", 66.0, BOTH, CHOSE, "both tests together, which chose the epoch"),
    ("tinyfer lite", 100 * 2431 / HALF, HALF, CHOSE, "PublicTest, which chose the recipe; one view"),
    ("tinyfer lite, ten views", 100 * 2506 / HALF, HALF, CHOSE, "PublicTest, which chose the recipe; ten views"),
    ("Tang 2013", 71.16, HALF, APART, "PrivateTest, blind: the contest's winner"),
    ("tinyfer vgg, ten views", 100 * 2582 / HALF, HALF, CHOSE, "PublicTest, which chose the recipe; ten views"),
    ("Khaireddin & Chen 2021", 73.06, HALF, APART, "PublicTest, chosen on PrivateTest; ten views"),
    ("WuJie1010 VGG19", 73.11, HALF, CHOSE, "PrivateTest, best of 250 epochs on it; ten views"),
    ("LetheSec ResNet18", 73.70, HALF, CHOSE, "PrivateTest, best of 300 epochs on it; ten views"),
    ("RMN", 74.14, HALF, APART, "PrivateTest; ImageNet before, 48 views"),
    ("ResEmoteNet", 79.79, HALF, OTHER, "others report 60 to 66 with the original data"),
)
KEYS = ((APART, "tested once, at the end"), (CHOSE, "test used for choosing"), (OTHER, "not comparable"))


def draw(mine):
    figure = plots.empty_figure(13.5, 7.4)
    left, right = figure.subfigures(1, 2, width_ratios=(1.85, 1))
    draw_ladder(mine, left)
    above, below = right.subfigures(2, 1, height_ratios=(1.12, 1))
    draw_reliability(mine, above)
    draw_fooled(mine, below)
    return figure


def titled(axes, text):
    axes.set_title(text, loc="left", fontsize=11, color=plots.INK)


# -------------------------------------------------------------------------------------------------------------- ladder


def draw_ladder(mine, figure):
    axes = figure.subplots()
    plots.clean(axes)
    axes.grid(False, axis="y")
    for row, (_, percent, total, colour, protocol) in enumerate(LADDER):
        low, high = (
            (60, 70) if total is None else (100 * end for end in mine.wilson(round(percent * total / 100), total))
        )
        axes.plot([low, high], [row, row], color=colour, linewidth=6, solid_capstyle="butt", alpha=0.55)
        axes.plot(percent, row, "o", color=colour, markersize=6)
        axes.text(max(high, percent) + 1.2, row, f"{percent:.1f}", va="center", fontsize=9, color=plots.INK)
        axes.text(89, row, protocol, va="center", fontsize=8, color=colour if colour != OTHER else "#666666")
    axes.set_yticks(range(len(LADDER)), [row[0] for row in LADDER], fontsize=9)
    axes.set_xlim(20, 139)
    axes.spines["bottom"].set_bounds(20, 80)
    axes.set_xticks(range(20, 81, 10))
    axes.set_ylim(-0.6, len(LADDER) + 0.2)
    axes.set_xlabel("per cent right, and your 95 % interval", color=plots.INK, loc="left")
    for i, (colour, text) in enumerate(KEYS):
        axes.plot(22 + 38 * i, len(LADDER) - 0.25, "o", color=colour, markersize=6)
        axes.text(23.5 + 38 * i, len(LADDER) - 0.25, text, va="center", fontsize=9, color=plots.INK)
    titled(axes, "FER-2013, seven expressions: what was published, and how it was tested")


# --------------------------------------------------------------------------------------------------------- reliability

FACES, BINS, FEWEST = 1050, 8, 4  # drawn faces of each kind, bins, answers that a bin needs to be shown


def draw_reliability(mine, figure):
    """How sure the shipped network for drawn faces is, and how often it is right: on faces like those it learned from,
    and on faint expressions, which it has not seen."""
    axes = figure.subplots()
    plots.clean(axes)
    axes.plot([0, 100], [0, 100], color=plots.FAINT, linewidth=1, linestyle="--")
    model, labels = models.load("toy"), np.arange(FACES) % len(LABELS)
    kinds = (("as in training", plots.BLUE, "o", {}), ("faint expressions", plots.ORANGE, "s", {"intensity": 0.4}))
    for name, colour, marker, looks in kinds:
        images = draw_many(labels, np.random.default_rng(15), 48, **looks)
        chances = ops.softmax(evaluation.logits(model, data.Split(images, labels, name)))
        bins = metrics.reliability(chances, labels, BINS)
        full = bins.number >= FEWEST
        for number, sure, share in zip(*(values[full] for values in bins), strict=True):
            low, high = mine.wilson(round(share * number), int(number))
            axes.plot([100 * sure] * 2, [100 * low, 100 * high], color=colour, linewidth=2, alpha=0.6)
        right = (chances.argmax(1) == labels).mean()
        said = f"{name}: says {100 * chances.max(1).mean():.0f} %, is {100 * right:.0f} %"
        axes.plot(100 * bins.confidence[full], 100 * bins.accuracy[full], marker + "-", color=colour, linewidth=1.4,
                  markersize=5, label=said)  # fmt: skip
    axes.set_xlim(25, 102)
    axes.set_ylim(0, 104)
    axes.set_xlabel("how sure it says it is, %", color=plots.INK)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=plots.INK, loc="lower right")
    titled(axes, "reliability: how often it is right, %")


# ---------------------------------------------------------------------------------------------------------- two fools

KNOWN, ASKED, COPIED = 350, 280, 84  # faces to compare with, faces to name, and how many of these are known already


def neighbours(rng):
    """Faces named like the known one with the most similar pixels, of which some are the very same: (known, asked,
    labels, answers)."""
    labels = np.arange(KNOWN + ASKED) % len(LABELS)
    faces = draw_many(labels, rng, 24)
    known, asked = faces[:KNOWN], faces[KNOWN:].copy()
    truth = labels[KNOWN:].copy()
    asked[:COPIED], truth[:COPIED] = known[:COPIED], labels[:COPIED]
    a, b = (pictures.reshape(len(pictures), -1).astype(float) for pictures in (asked, known))
    distance = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    return known, asked, truth, labels[distance.argmin(1)]


def draw_fooled(mine, figure):
    axes = figure.subplots()
    plots.clean(axes)
    axes.grid(False, axis="x")
    labels = np.repeat(np.arange(7), PUBLIC)
    happy = np.full(len(labels), LABELS.index("happy"))
    known, asked, truth, answers = neighbours(np.random.default_rng(4))
    fresh = ~mine.leaked(known, asked)
    right = answers == truth
    bars = (
        (0, "accuracy", right_and_total(happy == labels), plots.FAINT),
        (1, "macro-F1", 100 * mine.macro_f1(labels, happy, 7), plots.GREEN),
        (2.6, f"all {ASKED}", right_and_total(right), plots.FAINT),
        (3.6, "without copies", right_and_total(right[fresh]), plots.GREEN),
    )
    for x, _, value, colour in bars:
        percent = value
        if isinstance(value, tuple):
            percent = 100 * value[0] / value[1]
            axes.plot([x, x], [100 * end for end in mine.wilson(*value)], color=plots.INK, linewidth=1.6, zorder=3)
        axes.bar(x, percent, color=colour, width=0.72)
        axes.text(x + 0.08, percent + 1, f"{percent:.0f}", fontsize=10, color=plots.INK)
    axes.axhline(100 / 7, color=plots.INK, linewidth=0.8, linestyle="--")
    axes.text(1.8, 100 / 7 + 1, "guessing", fontsize=8.5, color=plots.INK, ha="center")
    axes.set_xticks([bar[0] for bar in bars], [bar[1] for bar in bars], fontsize=9)
    axes.set_ylim(0, 62)
    axes.set_yticks(range(0, 51, 10))
    axes.set_xlim(-0.6, 4.2)
    for x, method in ((0.5, 'always "happy"'), (3.1, f"nearest neighbour,\n{COPIED} of {ASKED} are copies")):
        axes.text(x, 62, method, ha="center", va="top", fontsize=10, color=plots.INK)
    titled(axes, "two ways to be fooled, %")


def right_and_total(right):
    return int(right.sum()), len(right)


# -------------------------------------------------------------------------------------------------------------- try 15


def try_it(mine, say):
    """The protocol card of the shipped network for drawn faces, with the student's numbers in it."""
    model = models.load("toy")
    say(f"toy, the network for drawn faces: {model.meta['protocol']}")
    say("drawing the 12,000 faces that it was made with, and 1,500 new ones")
    trained_on = sources.toyfaces(f"{sources.TOY}:12000").train
    new = draw_many(np.arange(1500) % len(LABELS), np.random.default_rng(15), 48)
    labels = np.arange(len(new)) % len(LABELS)
    answers = evaluation.logits(model, data.Split(new, labels, "new")).argmax(1)
    correct, total = right_and_total(answers == labels)
    low, high = mine.wilson(correct, total)
    say(f"  accuracy   {100 * correct / total:.1f} % of {total:,} [{100 * low:.1f}, {100 * high:.1f}]")
    copies = mine.leaked(trained_on.images, new).sum()
    say(f"  macro-F1   {mine.macro_f1(labels, answers, len(LABELS)):.3f}")
    say(f"  leaked     {copies} of them are among its {len(trained_on):,} training faces")
    say("the same of your own pictures: python -m tinyfer.data check FILE, and python -m tinyfer.evaluate --help")
