"""Thirty-two faces learned by heart, then a real training run: curves and confusion matrix, by the student's step."""

import time

import numba
import numpy as np
from matplotlib.patches import Rectangle

from lessons.runner import course
from tinyfer import data, evaluation, metrics, models, optim, plots, seeds
from tinyfer.data import LABELS
from tinyfer.data.toyfaces import draw_many
from tinyfer.faces import DRAWN_ONLY

WIDTHS, SIZE, DROPOUT = (8, 16, 32, 64), 32, 0.1
BY_HEART, STEPS, SHOWN = 32, 60, (0, 8, 60)  # faces, steps, and after which steps the faces are shown
TRAIN, VAL, EPOCHS, BATCH, RATE = 910, 210, 8, 16, 0.04


def network(mine, name="micro", widths=WIDTHS, size=SIZE, dropout=DROPOUT):
    """The student's stages as a model of the engine, with the student's backward in it."""
    stages = mine.four_stages(widths, dropout, seeds.generator(0, "weights"))
    model = models.Model(name, {"size": size, "dropout": dropout}, stages)
    model.backward = lambda dy, input_gradient=True: mine.backward(list(model.layers.values()), dy)
    return model


def drawn(count, purpose):
    """Sharp drawn faces, each expression equally often."""
    labels = np.arange(count) % len(LABELS)
    images = draw_many(labels, seeds.generator(13, purpose), SIZE, noise=0, blur=0, occlusion="none")
    return data.Split(images, labels, purpose)


def draw(mine):
    numba.set_num_threads(1)  # pictures so small gain nothing from more
    figure = plots.empty_figure(13, 7)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.15))
    train, val = drawn(TRAIN, "train"), drawn(VAL, "val")
    draw_by_heart(mine, train.take(slice(0, BY_HEART)), above)
    draw_training(mine, train, val, below)
    return figure


def titled(axes, text):
    axes.set_title(text, loc="left", fontsize=11, color=plots.INK)


# ---------------------------------------------------------------------------------------------------- learned by heart


def draw_by_heart(mine, faces, figure):
    losses, answers = by_heart(mine, faces)
    loss, *pictures = figure.subplots(1, 4, width_ratios=(1.1, 1, 1, 1))
    plots.clean(loss)
    loss.axhline(np.log(7), color=plots.FAINT, linewidth=1, linestyle="--")
    loss.text(STEPS, np.log(7) * 1.04, "ln 7: seven guesses alike", ha="right", color=plots.FAINT, fontsize=9)
    loss.plot(losses, color=plots.BLUE, linewidth=2)
    loss.set_ylim(0, 1.3 * np.log(7))
    loss.set_xlabel("step, always on the same faces", color=plots.INK)
    titled(loss, f"loss: {BY_HEART} faces by heart")
    for axes, step in zip(pictures, SHOWN, strict=True):
        right = answers[step] == faces.labels
        board(axes, faces.images, right)
        titled(axes, f"after {step} steps: {right.sum()} of {BY_HEART} right")


def by_heart(mine, faces):
    """The loss of each step, and the answers (32,) after the steps SHOWN."""
    model = network(mine, dropout=0.0)
    optimizer = optim.SGD(model.params, lr=RATE)
    x, losses, answers = model.preprocess(faces.images), [], {}
    for step in range(STEPS + 1):
        if step in SHOWN:
            answers[step] = model.forward(x).argmax(1)
        losses.append(mine.train_step(model, optimizer, x, faces.labels, seeds.generator(0, "dropout", 0, step)))
    return losses, answers


def board(axes, images, right):
    """The faces in rows of six, those with a wrong answer pale, in an orange frame."""
    step, columns = SIZE + 4, 6
    rows = -(-len(images) // columns)
    whole = np.full((rows * step, columns * step), 255.0)
    for i, image in enumerate(images):
        top, left = i // columns * step + 2, i % columns * step + 2
        whole[top : top + SIZE, left : left + SIZE] = image if right[i] else 150 + image * 0.4
        colour = plots.BLUE if right[i] else plots.ORANGE
        frame = Rectangle((left - 1.5, top - 1.5), SIZE + 2, SIZE + 2, fill=False, linewidth=1.8, edgecolor=colour)
        axes.add_patch(frame)
    axes.imshow(whole, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()


# ------------------------------------------------------------------------------------------------------ a training run


def training(mine, model, train, val, epochs, augment, peak=RATE, batch_size=BATCH):
    """Train and validate: yields (mean loss in training, logits of val) after each epoch."""
    optimizer = optim.SGD(model.params, lr=peak, weight_decay=5e-4)
    batches = data.Batches(train, batch_size, model.preprocess, 0, augment)
    steps = len(train) // batch_size
    rate = optim.schedule("one-cycle", peak, epochs * steps)
    for epoch in range(epochs):
        losses = []
        for step in range(steps):
            optimizer.lr = rate(epoch * steps + step)
            rng = seeds.generator(0, "dropout", epoch, step)
            losses.append(mine.train_step(model, optimizer, *batches.batch(epoch, step), rng))
        yield np.mean(losses), evaluation.logits(model, val)


def draw_training(mine, train, val, figure):
    train_loss, val_loss, accuracy = [], [], []
    for loss, logits in training(mine, network(mine), train, val, EPOCHS, "none"):
        scores = metrics.Scores.of(val.labels, logits.argmax(1), LABELS)
        train_loss.append(loss)
        val_loss.append(metrics.cross_entropy(logits, val.labels))
        accuracy.append(100 * scores.accuracy)
    falling, rising, matrix = figure.subplots(1, 3, width_ratios=(1, 1, 1.05))
    epochs = range(1, EPOCHS + 1)
    for axes in (falling, rising):
        plots.clean(axes)
        axes.set_xlabel("epoch", color=plots.INK)
        axes.set_xlim(0.5, EPOCHS + 0.5)
    falling.plot(epochs, train_loss, "o-", color=plots.BLUE, linewidth=2, markersize=4.5, label="training")
    falling.plot(epochs, val_loss, "s-", color=plots.ORANGE, linewidth=2, markersize=4.5, label="validation")
    falling.set_ylim(0, 1.3 * np.log(7))
    falling.legend(frameon=False, labelcolor=plots.INK)
    titled(falling, f"loss: {TRAIN} drawn faces of {SIZE} x {SIZE}")
    rising.plot(epochs, accuracy, "s-", color=plots.ORANGE, linewidth=2, markersize=4.5)
    rising.axhline(100 / 7, color=plots.FAINT, linewidth=1, linestyle="--")
    rising.text(EPOCHS + 0.4, 100 / 7 + 2, "guessing", ha="right", color=plots.FAINT, fontsize=9)
    rising.set_ylim(0, 100)
    titled(rising, f"of {VAL} other faces {accuracy[-1]:.0f} % right")
    draw_matrix(matrix, scores)


def draw_matrix(axes, scores):
    axes.imshow(scores.confusion, cmap="Blues", vmax=1.4 * scores.support.max())
    for (i, j), count in np.ndenumerate(scores.confusion):
        if count:
            axes.text(j, i, count, ha="center", va="center", fontsize=9, color=plots.INK)
    axes.set_xticks(range(7), LABELS, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(7), LABELS, fontsize=8)
    axes.tick_params(length=0, colors=plots.INK)
    titled(axes, "confusion: rows true, columns answered")


# -------------------------------------------------------------------------------------------------------------- try 13

LITE = {"name": "lite", "widths": (32, 64, 128, 256), "size": 48, "dropout": 0.2}
MICRO = {"name": "micro", "widths": WIDTHS, "size": 24, "dropout": DROPOUT}  # for machines on which lite takes too long
LEAST_EPOCHS, MOST_EPOCHS, TRIED_BATCH, ENOUGH, MOST = 4, 10, 32, 2400, 3200  # the last two are faces


def try_it(mine, say, minutes=1.0):
    """Train lite on 48x48 drawn faces for about so long, save it, and load it with the engine."""
    seconds = 60 * minutes
    faces = data.toyfaces(MOST * 5 // 4, np.random.default_rng(0))
    for plan in (LITE, MICRO):
        each = seconds_a_picture(mine, faces.train, plan)
        fit_in = int(seconds / LEAST_EPOCHS / each)
        say(f"{plan['name']}, made of your stages: {1 / each:,.0f} pictures of {plan['size']}x{plan['size']} a second")
        if fit_in >= ENOUGH:
            break
    train = faces.train.take(slice(0, max(TRIED_BATCH, fit_in)))
    epochs = int(np.clip(seconds / each / len(train), LEAST_EPOCHS, MOST_EPOCHS))
    say(f"{epochs} epochs of {len(train):,} augmented drawn faces, with your backward and your step")
    model = network(mine, **plan)
    run = training(mine, model, train, faces.val, epochs, "light", 0.05, TRIED_BATCH)
    for epoch, (loss, logits) in enumerate(run, 1):
        scores = metrics.Scores.of(faces.val.labels, logits.argmax(1), LABELS)
        say(f"  epoch {epoch}: training loss {loss:.3f}, validation {scores.headline()}")
    keep(model, faces.val, logits, say)


def seconds_a_picture(mine, faces, plan):
    """Of the fastest of three steps, after a first one in which kernels may be compiled."""
    model, batch, taken = network(mine, **plan), faces.take(slice(0, TRIED_BATCH)), []
    optimizer, x = optim.SGD(model.params, lr=RATE), model.preprocess(batch.images)
    for _ in range(4):
        begun = time.perf_counter()
        mine.train_step(model, optimizer, x, batch.labels, seeds.generator(0, "dropout"))
        taken.append((time.perf_counter() - begun) / TRIED_BATCH)
    return min(taken[1:])


def keep(model, val, logits, say):
    """Save the network, and let the engine load it: its own network of that name, with your weights."""
    model.meta = {"data": "toyfaces", "note": DRAWN_ONLY}
    place = course.pictures() / f"13_{model.name}.npz"
    place.parent.mkdir(parents=True, exist_ok=True)
    models.save(model, place)
    same = np.allclose(evaluation.logits(models.load(place), val), logits, atol=1e-4)
    say(f"saved as {course.shown(place)}; loaded by the engine it answers {'the same' if same else 'OTHERWISE'}")
    say(f"and behind the webcam: python -m tinyfer.webcam --source demo --model {course.shown(place)}")
