"""A training run and its user: a live line on a terminal, a line an epoch everywhere, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

from tqdm import tqdm

tqdm.monitor_interval = 0  # no thread of its own for a line that is redrawn at every step anyway


class Show:
    """What a run tells while it goes on; this one is silent, Live prints."""

    def say(self, sentence: str) -> None:
        """A sentence worth a line."""

    def running(self, run):
        """A context around all steps."""
        return contextlib.nullcontext()

    def step(self, run) -> None:
        """After every step."""

    def epoch(self, run) -> None:
        """After every epoch, its figures being run.rows[-1]."""


class Live(Show):
    """Prints to stdout; the live line (epoch, images/s, time left, loss, accuracy) goes to stderr, on a terminal."""

    def __init__(self):
        self._bar = None

    def say(self, sentence: str) -> None:
        tqdm.write(sentence)
        sys.stdout.flush()

    @contextlib.contextmanager
    def running(self, run):
        with tqdm(total=run.total_steps, initial=run.global_step, disable=not sys.stderr.isatty(), leave=False,
                  dynamic_ncols=True, smoothing=0.05,
                  bar_format="{desc} |{bar}| {remaining} left{postfix}") as self._bar:
            yield

    def step(self, run) -> None:
        bar, sums = self._bar, run.sums
        if bar is None or bar.disable:
            return
        bar.set_description_str(f"epoch {run.epoch + 1}/{run.epochs}", refresh=False)
        bar.set_postfix_str(f"{sums.pictures / sums.seconds:.0f} images/s, loss {sums.loss / sums.pictures:.3f}, "
                            f"accuracy {100 * sums.correct / sums.pictures:.1f} %", refresh=False)
        bar.update()

    def epoch(self, run) -> None:
        row = run.rows[-1]
        width = len(str(run.epochs))
        star = "  best so far" if run.best["epoch"] == row["epoch"] and row["epoch"] > 1 else ""
        at = f" at {row['size']}x{row['size']}" if run.config.grow else ""
        self.say(f"epoch {row['epoch']:{width}}/{run.epochs}  loss {row['train_loss']:.3f}  accuracy "
                 f"{100 * row['train_accuracy']:5.1f} %  |  validation{at}: loss {row['val_loss']:.3f}  accuracy "
                 f"{100 * row['val_accuracy']:5.1f} %  macro-F1 {row['val_macro_f1']:.3f}  |  "
                 f"{row['images_per_s']:.0f} images/s{star}")


class Interrupt:
    """Inside the block the first Ctrl-C is only noted, so that the step is finished; the second one stops at once.

    So are the signals of `timeout`, of a container that is stopped and of a terminal or console that is closed, but
    however often they come: `timeout` and shells send them twice. What is ignored (by nohup) stays so."""

    asked = False
    ENDINGS = ("SIGTERM", "SIGHUP", "SIGBREAK")  # as far as the system has them

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)
            for number in (getattr(signal, name) for name in self.ENDINGS if hasattr(signal, name)):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, _):
        self.asked = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def duration(seconds: float) -> str:
    """Seconds as people say them: 8.5 s, 3.2 minutes, 1.5 hours."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
