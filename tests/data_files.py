"""Writers of every layout FER-2013 circulates in, filled with made-up pictures: what the data tests read."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
from PIL import Image

from tinyfer.data.known import USAGES
from tinyfer.data.types import LABELS


def made_up(n=12, seed=0, side=48):
    """Pictures (n,side,side), labels and splits (n,): every label and every split occurs, in the csv's order."""
    rng = np.random.default_rng(seed)
    splits = np.sort(np.arange(n) % 3)
    return rng.integers(0, 256, (n, side, side)).astype(np.uint8), rng.permutation(n) % 7, splits


def csv_rows(images, labels, splits):
    """The csv's fields: (emotion, pixels, Usage) as text."""
    return [(str(label), " ".join(map(str, image.ravel())), USAGES[split])
            for image, label, split in zip(images, labels, splits, strict=True)]


def csv_text(images, labels, splits, order=("emotion", "pixels", "Usage"), *, gap="", quote="", end="\n", bom=""):
    """A csv with its columns in any order, with spaces after commas, quotes and line ends as wanted."""
    lines = [f",{gap}".join(order)]
    for emotion, pixels, usage in csv_rows(images, labels, splits):
        fields = {"emotion": emotion, "pixels": f"{quote}{pixels}{quote}", "Usage": usage, "extra": f"{quote}x{quote}"}
        lines.append(f",{gap}".join(fields[name] for name in order))
    return bom + end.join(lines) + end


def write_csv(path, content, how=""):
    """Text into `path`, or into a .gz, .zip or .tar.gz of it."""
    if isinstance(content, str):
        content = content.encode()
    if how == "gz":
        path.write_bytes(gzip.compress(content))
    elif how == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("example_submission.csv", "id,emotion\n")
            archive.writestr("fer2013/fer2013.csv", content)
    elif how == "tar.gz":
        with tarfile.open(path, "w:gz") as archive:
            for name, member in (("fer2013/README", b"read me"), ("fer2013/fer2013.csv", content)):
                info = tarfile.TarInfo(name)
                info.size = len(member)
                archive.addfile(info, io.BytesIO(member))
    else:
        path.write_bytes(content)
    return path


def write_picture(path, image):
    """A uint8 (H,W) picture as an image file of the name's kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_folders(root, splits, names=LABELS, per_class=2, seed=0, file_name="{i}.png", side=48):
    """<root>/<split>/<class>/<file> for every split and class -> {file: picture}."""
    rng = np.random.default_rng(seed)
    written = {}
    for split in splits:
        for name in names:
            for i in range(per_class):
                path = root / split / name / file_name.format(i=i)
                written[path] = rng.integers(0, 256, (side, side)).astype(np.uint8)
                write_picture(path, written[path])
    return written
