"""python -m tinyfer.predict PICTURE...: what the faces in photos show; a table, and annotated copies if asked for.

    python -m tinyfer.predict photo.jpg 'holiday/*.jpg' --out answers
    python -m tinyfer.predict --model runs/lite-1 --json - < photo.jpg

Nothing leaves the machine, and nothing is stored but the copies that --out asks for."""

from __future__ import annotations

import glob
import json
import os
import pathlib
import re
import shutil
import sys
from dataclasses import dataclass

from PIL import Image
from tqdm import tqdm

from tinyfer import cli, detectors, machine, models
from tinyfer.cli import option
from tinyfer.errors import UserError
from tinyfer.faces import (
    DRAWN_ONLY,
    LARGEST_FILE,
    MARGIN,
    NOTICE,
    Face,
    FaceReader,
    drawn_only,
    open_picture,
    pictures_in,
)

PROG = "python -m tinyfer.predict"
STDIN = "-"


@dataclass(frozen=True)
class Options:
    """The flags of this program."""

    pictures: tuple[str, ...] = option((), "photos or pictures of faces, folders, patterns such as 'holiday/*.jpg', "
                                       "or - for standard input", metavar="PICTURE", positional=True)
    model: str | None = option(None, "a shipped model, a file, or the folder of a run (default: the shipped lite)",
                               metavar="NAME|PATH")
    detector: str = option("haar", "what finds the faces; none: each picture is a face",
                           choices=tuple(detectors.DETECTORS))
    detector_file: str | None = option(None, "yunet's model", metavar="FILE")
    margin: float = option(MARGIN, "how much larger than the face's box the crop is", low=-0.5, high=2)
    out: str | None = option(None, "write annotated copies into this folder (default: nothing is written)",
                             metavar="FOLDER")
    json: bool = option(False, "print a list, one object a picture: path, faces (box [x, y, w, h], label, "
                        "probabilities)")


def run(options: Options) -> int:
    """Read the pictures as the options say; 2 if any of them could not be read."""
    paths, refusals = expand(options.pictures)
    machine.tell_of_compiling(stderr=True)
    find = detectors.later(options.detector, options.detector_file)
    reader = FaceReader(load_model(options.model), find, options.margin)
    copies = Copies(options.out, reader.model) if options.out is not None else None
    show: Table | Json = Json(reader.model) if options.json else Table([*refusals, *paths], reader.model)
    for word, sentence in refusals.items():
        show.refused(word, sentence)
    bad = len(refusals)
    with tqdm(paths, unit=" pictures", delay=2, leave=False, disable=None) as progress:
        for path in progress:
            try:
                picture = open_picture(_stdin() if path == STDIN else path)
                faces = reader.read(picture)
            except UserError as error:
                show.refused(path, str(error))
                bad += 1
                continue
            show.faces(path, picture, faces)
            if copies:
                copies.write(path, picture, faces)
    show.end(copies)
    return 2 if bad else 0


def load_model(name: str | None) -> models.Model:
    """The model that --model means: a shipped one by name, a file, or a run's folder (its best.npz)."""
    if name is None:
        if "lite" not in models.shipped():
            raise UserError(f"no model is shipped yet: train one with `python -m tinyfer.train`, then name its run, "
                            f"{PROG} --model {_newest_run() or 'runs/NAME'} PICTURE.")
        return models.load("lite")
    return models.load(name)


def _newest_run() -> pathlib.Path | None:
    found = sorted(pathlib.Path("runs").glob("*/best.npz"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent if found else None


# ------------------------------------------------------------------------------------------------------- what to read


def expand(words: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """The pictures that the words of the command line mean, each once, in order, a folder's sorted by name; and for the
    words that mean none, why. UserError where there is but one word, and that means none."""
    if not words:
        raise UserError(f"no picture was named: {PROG} photo.jpg, or a folder, a pattern, or - for standard input.")
    paths: dict[str, None] = {}
    refusals = {}
    for word in words:
        try:
            paths |= dict.fromkeys(_expanded(word))
        except UserError as error:
            refusals[word] = str(error)
    if len(words) == 1 and refusals:
        raise UserError(refusals[words[0]])
    return list(paths), refusals


def _expanded(word: str) -> list[str]:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", word):
        raise UserError(f"{_name(word)} is an address; nothing here goes online: download the picture and name "
                        f"the file.")
    if word == STDIN or os.path.isfile(word):  # pathlib's is_file raises where a folder above may not be looked into
        return [word]
    if os.path.isdir(word):
        return pictures_in(word)
    if glob.has_magic(word):
        found = sorted(found for found in glob.glob(word, recursive=True) if os.path.isfile(found))
        if not found:
            raise UserError(f"{_name(word)}: no file fits this pattern.")
        return found
    return [word]  # told to be missing when its turn comes, after what can be read


def _stdin() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError(f"- means a picture from standard input, and there is none: {PROG} - < photo.jpg.")
    return sys.stdin.buffer.read(LARGEST_FILE + 1)


# -------------------------------------------------------------------------------------------------------- what to say


def described(model: models.Model) -> str:
    """The model in a few words, with what it must not be mistaken for."""
    return f"{model.title}{', ' + DRAWN_ONLY if drawn_only(model) else ''}"


class Json:
    """The answers as one list, printed at the end; warnings go to stderr."""

    def __init__(self, model: models.Model):
        self._note = {"note": DRAWN_ONLY} if drawn_only(model) else {}
        self._list: list[dict] = []

    def faces(self, path: str, picture: Image.Image, faces: list[Face]) -> None:
        self._list.append({"path": path, "faces": [
            {"box": list(face.box), "label": face.label,
             "probabilities": {name: round(chance, 6) for name, chance in face.probabilities.items()}}
            for face in faces], **self._note})

    def refused(self, path: str, sentence: str) -> None:
        self._list.append({"path": path, "faces": [], "error": sentence})
        tqdm.write(f"error: {_name(sentence)}", file=sys.stderr)

    def end(self, copies: Copies | None) -> None:
        print("[" + ",".join("\n " + json.dumps(one) for one in self._list) + "\n]")


class Table:
    """The answers as lines, each printed when it is known."""

    def __init__(self, paths: list[str], model: models.Model):
        from tinyfer.overlay import colour
        self._terminal = sys.stdout.isatty()
        self._tint = colour if self._terminal and "NO_COLOR" not in os.environ else None
        self._width = max(7, min(36, max(len(_name(path)) for path in paths)))
        self._count = 0
        self._alone = len(paths) == 1
        self._head = (f"{NOTICE}\nmodel: {described(model)}\n\n"
                      f"{'picture':{self._width}}  face  {'box (x, y, w, h)':22}  {'expression':10}  probability")

    def faces(self, path: str, picture: Image.Image, faces: list[Face]) -> None:
        if not faces:
            self._line(f"{self._cut(path)}     -  no face")
        for number, face in enumerate(faces, 1):
            box = ", ".join(map(str, face.box))
            everything = tuple(face.box) == (0, 0, *picture.size)
            self._line(f"{self._cut(path)}  {number:4}  {'the whole picture' if everything else box:22}  "
                       f"{face.label:10}  {self._chance(face)}".rstrip())
            self._count += 1
            if self._terminal and len(faces) == 1 and self._count <= 3:
                self._bars(face)

    def _chance(self, face: Face) -> str:
        text = f"{100 * face.probability:5.1f} %"
        if not self._terminal:
            return text
        second, chance = sorted(face.probabilities.items(), key=lambda item: -item[1])[1]
        tail = f"  {second} {100 * chance:.0f} %" if _room(self._width) else ""
        return f"{text}  {self._bar(face.label, face.probability, 10)}{tail}"

    def _bars(self, face: Face) -> None:
        for name, chance in face.probabilities.items():
            self._line(f"{'':{self._width}}        {name:>8}  {self._bar(name, chance, 24)}{100 * chance:5.1f} %")

    def _bar(self, label: str, share: float, width: int) -> str:
        """A bar of `width` characters in the expression's colour, drawn in eighths of one."""
        eighths = round(8 * width * share)
        bar = ("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()).ljust(width)
        if not _unicode():
            bar = ("#" * round(width * share)).ljust(width)
        if self._tint is None:
            return bar
        red, green, blue = bytes.fromhex(self._tint(label)[1:])
        return f"\x1b[38;2;{red};{green};{blue}m{bar}\x1b[0m"

    def _cut(self, path: str) -> str:
        name = _name(path)
        if len(name) > self._width:
            name = "..." + name[3 - self._width:]
        return f"{name:{self._width}}"

    def refused(self, path: str, sentence: str) -> None:
        if not self._alone:
            self._line(f"{self._cut(path)}     -  could not be read")
        tqdm.write(f"error: {_name(sentence)}", file=sys.stderr)

    def end(self, copies: Copies | None) -> None:
        if copies and copies.count:
            print(f"\nannotated copies: {copies.count} in {copies.folder}")
        elif copies is None and self._terminal and not self._head:
            print("\nnothing was stored; --out FOLDER writes annotated copies")

    def _line(self, text: str) -> None:
        if self._head:
            tqdm.write(self._head)
            self._head = ""
        tqdm.write(text)
        sys.stdout.flush()


def _name(path: str) -> str:
    """A path as it can be printed: no line breaks or control characters (which could redraw the terminal), nothing that
    cannot be encoded."""
    name = "standard input" if path == STDIN else path
    name = "".join(c if c.isprintable() else "?" for c in name)
    encoding = sys.stdout.encoding or "utf-8"
    return name.encode(encoding, "replace").decode(encoding)


def _room(width: int) -> bool:
    return shutil.get_terminal_size().columns >= width + 80


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


# ------------------------------------------------------------------------------------------------------------- copies


class Copies:
    """Annotated copies in a folder of the user's, PHOTO-faces.jpg or .png. They carry no metadata of the originals,
    such as where a photo was taken."""

    def __init__(self, folder: str, model: models.Model):
        self.folder, self.count = pathlib.Path(folder), 0
        self._note = f"{model.title} · {DRAWN_ONLY}" if drawn_only(model) else model.title
        self._written: set[str] = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {folder}: cannot be made a folder ({error.strerror}); name another one.") from None

    def write(self, path: str, picture: Image.Image, faces: list[Face]) -> None:
        """One copy; pictures of the same name in different folders are numbered."""
        from tinyfer import overlay
        place = self.folder / self._free_name(pathlib.Path("stdin.png" if path == STDIN else path))
        copy = overlay.annotate(picture, faces, self._note)
        try:
            copy.save(place, quality=92)  # which png ignores
        except OSError as error:
            raise UserError(f"--out {place}: cannot be written ({error.strerror or error}).") from None
        self.count += 1

    def _free_name(self, path: pathlib.Path) -> str:
        suffix = ".jpg" if path.suffix.lower() in (".jpg", ".jpeg") else ".png"
        name, number = f"{path.stem}-faces{suffix}", 1
        while name.lower() in self._written:  # some systems do not tell A.png from a.png
            number += 1
            name = f"{path.stem}-faces-{number}{suffix}"
        self._written.add(name.lower())
        return name


if __name__ == "__main__":
    cli.main(Options, run, prog=PROG, description="Read the facial expressions in photos, or in cut-out faces. "
             + NOTICE)
