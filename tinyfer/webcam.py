"""python -m tinyfer.webcam: the expressions of the faces before the camera, in a video, or drawn, live.

    python -m tinyfer.webcam                                        # camera 0, in a window; ? shows the keys
    python -m tinyfer.webcam --source demo                          # drawn faces, on a machine without a camera
    python -m tinyfer.webcam --source film.mp4 --headless --csv faces.csv --record film-faces.mp4
    python -m tinyfer.webcam --browser                              # a page for your browser, which has the camera
    python -m tinyfer.webcam --teach                                # let it learn your own face
    python -m tinyfer.webcam --use mine.py                          # with your own kernels in the network

No picture leaves the machine, and nothing is stored but what --csv, --record and the keys s and r ask for."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from tinyfer import cli, data, detectors, machine, models, ops, seeds, web
from tinyfer.cli import option
from tinyfer.errors import UserError
from tinyfer.faces import DRAWN_ONLY, MARGIN, NOTICE, FaceReader, drawn_only
from tinyfer.live import capture, lesson, session
from tinyfer.live.capture import Feed, Source
from tinyfer.live.player import Player, video_of
from tinyfer.live.recording import Table
from tinyfer.live.session import Session
from tinyfer.live.window import Window
from tinyfer.progress import Interrupt

PROG = "python -m tinyfer.webcam"
NOT_IN_LESSONS = ("use", "mirror", "every", "smooth", "uncertain", "headless", "csv", "record", "max_frames")
NOT_IN_BROWSER = ("teach", "source", "width", "height", "mirror", "headless", "csv", "record", "max_frames")


@dataclass(frozen=True)
class Options:
    """The flags of this program."""

    source: str = option("0", "a camera's number, a video, a folder or pattern of pictures, an address, or demo: drawn "
                         "faces", metavar="SOURCE")
    model: str | None = option(None, "a shipped model, a file, or the folder of a run (default: the shipped lite; for "
                               "the demo, toy)", metavar="NAME|PATH")
    use: str | None = option(None, "run with the kernels in a Python file of yours", metavar="FILE")

    width: int | None = option(None, "ask the camera for frames of this width", low=64, high=7680, group="picture")
    height: int | None = option(None, "ask the camera for frames of this height", low=64, high=4320, group="picture")
    mirror: bool = option(True, "show a camera's picture as a mirror does; boxes in the csv are not mirrored",
                          group="picture")

    detector: str = option("haar", "what finds the faces; none: the whole picture is one",
                           choices=tuple(detectors.DETECTORS), group="faces")
    detector_file: str | None = option(None, "yunet's model", metavar="FILE", group="faces")
    min_face: float = option(session.MIN_FACE, "smallest face, as a share of the frame's shorter side; larger is "
                             "faster", low=0.02, high=1, group="faces")
    margin: float = option(MARGIN, "how much larger than the face's box the crop is", low=-0.5, high=2, group="faces")
    every: int = option(1, "look for faces in every N-th frame only", low=1, high=1000, group="faces")
    smooth: float = option(session.SMOOTH, "seconds over which answers are smoothed; 0: not at all", low=0, high=10,
                           group="faces")
    uncertain: float = option(session.UNCERTAIN, "say \"uncertain\" where no expression is as probable as that", low=0,
                              high=1, group="faces")

    browser: bool = option(False, "show it in a browser, which gives camera, pictures or videos: for WSL, ssh tunnels, "
                           "Codespaces", group="browser")
    port: int = option(web.PORT, "the page's port on this machine; 0: any that is free", low=0, high=65535,
                       group="browser")

    teach: bool = option(False, "teach the network's last layer your own face: it asks, records, and compares",
                         group="teaching")
    taught: str = option("runs/my-face", "where what was taught is kept; --model takes it", metavar="FOLDER",
                         group="teaching")
    pictures: int = option(lesson.EACH, "pictures of each expression", low=4, high=500, group="teaching")
    forget: bool = option(False, "delete what was taught, and the pictures", group="teaching")

    headless: bool = option(False, "open no window", group="output")
    csv: str | None = option(None, "write a table, a row a face and frame", metavar="FILE", group="output")
    record: str | None = option(None, "write a video of what is shown", metavar="FILE", group="output")
    max_frames: int | None = option(None, "stop after N frames", low=1, group="output")
    threads: int = option(1, "processor threads of the network; more than one pays from four faces on", low=1,
                          group="output")


def run(options: Options, given: frozenset[str]) -> int:
    """What the options say; 0, 2 where the source or the window fails, 130 after Ctrl-C."""
    if options.forget:
        print(lesson.forget(pathlib.Path(options.taught)))
        return 0
    if options.browser:
        return browse(options, given)
    if "port" in given:
        raise UserError("--port is that of the page: say --browser too.")
    if given & {"taught", "pictures"} and not options.teach:
        raise UserError("--taught and --pictures are for --teach: say that too.")
    if options.teach:
        _refuse(NOT_IN_LESSONS, given, "--teach: it asks in the terminal, and writes what --taught says alone")
        return teach(options)
    return play(options)


def play(options: Options) -> int:
    """Show and write down what a source gives."""
    if options.headless and options.source == "demo" and options.max_frames is None:
        raise UserError("--source demo never ends: with --headless, say --max-frames N too.")
    print(NOTICE)
    window = None if options.headless else Window()
    source = capture.open_source(options.source, options.width, options.height)
    feed = None
    try:
        machine.tell_of_compiling()
        machine.set_threads(options.threads)
        with ops.using(**_kernels(options)):
            live = make_session(options, model_name(options, source), source.stills)
            print(told(options, live, source), flush=True)
            video = video_of(source.fps, options.record) if options.record is not None else None
            table = None if options.csv is None else Table(options.csv, live.labels)  # makes its file at once: last
            feed = Feed(source)
            player = Player(feed, live, window=window, video=video, table=table, most=options.max_frames,
                            mirror=options.mirror and source.mirror, detector=options.detector,
                            smallest=None if source.stills else options.min_face)
            player.run()
    finally:
        if feed is None:
            source.close()
    print("\n".join(player.summary()))
    if player.frames == 0 and not player.interrupted:
        raise UserError(f"--source {source.name}: it gave no frame at all.")
    return 130 if player.interrupted else 0


def teach(options: Options) -> int:
    """Record one person, teach the last layer, compare; 1 where it did not get better, and nothing is written then."""
    folder = pathlib.Path(options.taught)
    lesson.check_free(folder, data.LABELS)
    print(NOTICE)
    source = capture.open_source(options.source, options.width, options.height)
    feed = Feed(source)
    try:
        if not source.live:
            raise UserError(f"--source {source.name}: teaching needs a camera, before which you show what it asks for.")
        machine.tell_of_compiling()
        machine.set_threads(options.threads)
        live = make_session(options, model_name(options, source), stills=False)
        pupil = lesson.Lesson(feed, live, options.pictures, _answer)
        if not pupil.agreed():
            print("nothing was recorded")
            return 0
        recorded = pupil.record()
        mine, judged = lesson.taught(live.reader.model, recorded, seeds.generator(0, "teach"))
        print(f"\npictures of the same minutes that it was not taught with, named rightly before and after:\n\n"
              f"{lesson.table(judged)}\n")
        before, after = lesson.total(judged)
        if after <= before:
            print("it did not get better: nothing was written")
            return 1
        keep = pupil.keep(folder / "pictures")
        lesson.write(folder, mine, recorded if keep else None)
    finally:
        feed.close()
    print(f"written: {folder}; use it: {PROG} --model {folder}; {lesson.forgetting(folder)} deletes it")
    return 0


def _answer(question: str) -> str:
    """What the user types."""
    try:
        return input(question)
    except EOFError:
        raise UserError("--teach asks questions, and nobody answers: run it in a terminal.") from None


def browse(options: Options, given: frozenset[str]) -> int:
    """Serve the page until Ctrl-C. The engine works in this thread, the server in others."""
    _refuse(NOT_IN_BROWSER, given, "--browser: the page itself takes the camera or a file, and stores nothing")
    print(NOTICE)
    machine.tell_of_compiling()
    machine.set_threads(options.threads)
    with ops.using(**_kernels(options)):
        model = models.load(options.model or "lite")
        engine = web.Engine(lambda stills: make_session(options, model, stills))
        engine.warm()
        with web.Server(engine, options.port) as server, Interrupt() as stop:
            print(f"model {described(model)}, faces by {options.detector}. Open this in a browser; Ctrl-C ends it:\n\n"
                  f"    {server.address}\n", flush=True)
            engine.run(lambda: stop.asked)
    return 130


def model_name(options: Options, source: Source) -> str:
    """The model that is asked for, or the one that suits the source."""
    return options.model or ("toy" if source.name == "demo" and "toy" in models.shipped() else "lite")


def make_session(options: Options, model, stills: bool) -> Session:
    """A session with a Model or the name of one as the options want it. Single pictures are read as `predict` reads
    them."""
    share = None if stills else options.min_face
    reader = FaceReader(model, detectors.make(options.detector, options.detector_file, share), options.margin)
    return Session(reader, every=options.every, smooth=options.smooth, uncertain=options.uncertain, stills=stills)


def described(model: models.Model) -> str:
    """The model in a few words, with what it is for."""
    return f"{model.title}{f' ({DRAWN_ONLY})' if drawn_only(model) else ''}"


def told(options: Options, live: Session, source: Source) -> str:
    """One line: what is read by which model, and how."""
    return (f"{source.name}: model {described(live.reader.model)}, faces by {options.detector}"
            + ("" if options.headless else "; ? in the window shows the keys, q quits"))


def _refuse(names: tuple[str, ...], given: frozenset[str], why: str) -> None:
    """UserError where one of these options was given."""
    for name in names:
        if name in given:
            raise UserError(f"--{name.replace('_', '-')} is not for {why}.")


def _kernels(options: Options) -> dict:
    """The user's own kernels, checked; none without --use."""
    if options.use is None:
        return {}
    from tinyfer import userkernels

    return userkernels.announced(options.use)


if __name__ == "__main__":
    cli.main(Options, run, prog=PROG, description=__doc__.partition(": ")[2].partition("\n")[0] + "\n" + NOTICE)
