"""Checkpoints: whole or not at all, and every file from elsewhere is a valid object or one UserError."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyfer import checkpoint
from tinyfer.errors import UserError

ARRAYS = {"stage1.conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "half": np.ones(3, np.float16),
          "step": np.array(7), "none": np.zeros((0, 4), np.uint8)}
META = {"name": "lite", "labels": ["frölich"], "lr": 0.1}


def written(folder, arrays=ARRAYS, meta=META, kind=checkpoint.RUN):
    path = folder / "a.npz"
    checkpoint.save(path, arrays, meta, kind)
    return path


def npz(path, compression=zipfile.ZIP_STORED, **entries):
    """An npz by hand: entries are arrays, or the bytes of a member; `meta` is the JSON of a header of ours."""
    meta = entries.pop("meta", {"kind": checkpoint.MODEL, "version": 1})
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, value in {"meta": np.array(json.dumps(meta)), **entries}.items():
            if not isinstance(value, bytes):
                file = io.BytesIO()
                np.save(file, value)
                value = file.getvalue()
            archive.writestr(name if "." in name else name + ".npy", value)
    return path


def npy(header: str, rest=b"") -> bytes:
    header = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + rest


def test_what_is_written_is_read(tmp_path):
    arrays, meta = checkpoint.read(written(tmp_path))
    assert {**META, "kind": "tinyfer-run", "version": 1, "sha256": meta["sha256"]} == meta
    assert list(arrays) == list(ARRAYS)
    for name, value in ARRAYS.items():
        assert arrays[name].dtype == value.dtype and arrays[name].flags.writeable
        np.testing.assert_array_equal(arrays[name], value)


def test_the_same_contents_are_the_same_bytes_and_numpy_reads_them(tmp_path):
    first = written(tmp_path).read_bytes()
    assert written(tmp_path).read_bytes() == first
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert json.loads(file["meta"].item())["name"] == "lite"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_what_was_read_can_be_written_again(tmp_path):
    arrays, meta = checkpoint.read(written(tmp_path))
    again, meta_again = checkpoint.read(written(tmp_path, {**arrays, "more": np.zeros(2)}, meta))
    assert "more" in again and meta_again["sha256"] != meta["sha256"]


def test_order_and_byte_order_of_an_array_do_not_matter(tmp_path):
    value = np.arange(12, dtype=">f4").reshape(3, 4).T
    arrays, _ = checkpoint.read(written(tmp_path, {"w": value}))
    assert arrays["w"].flags.c_contiguous and arrays["w"].dtype.isnative
    np.testing.assert_array_equal(arrays["w"], value)


@pytest.mark.parametrize("value", [np.array([object()]), np.array("text"), np.zeros(2, [("a", "f4")])])
def test_only_plain_numbers_are_written(tmp_path, value):
    with pytest.raises(ValueError, match="cannot be stored"):
        checkpoint.save(tmp_path / "a.npz", {"w": value}, {})
    assert os.listdir(tmp_path) == []


def test_a_run_is_not_taken_for_a_model(tmp_path):
    with pytest.raises(UserError, match=r"holds the state of a training run, expected a model: .*best\.npz"):
        checkpoint.read(written(tmp_path), checkpoint.MODEL)
    with pytest.raises(UserError, match=r"holds a model, expected the state"):
        checkpoint.read(written(tmp_path, kind=checkpoint.MODEL), checkpoint.RUN)


@pytest.mark.parametrize(("times", "kept"), [(2, "new"), (99, "old")])
def test_on_windows_a_file_that_another_program_holds_is_tried_again(tmp_path, monkeypatch, times, kept):
    """A virus scanner lets go of it soon; a spreadsheet does not, and is named."""
    (tmp_path / "log.csv").write_text("old")
    real, refused = os.replace, []

    def replace(*paths):
        if len(refused) < times:
            refused.append(paths)
            raise PermissionError(13, "Permission denied")
        real(*paths)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    if kept == "new":
        checkpoint.write_atomically(tmp_path / "log.csv", lambda file: file.write(b"new"))
    else:
        with pytest.raises(UserError, match="close the program that has it open"):
            checkpoint.write_atomically(tmp_path / "log.csv", lambda file: file.write(b"new"))
        assert 3 < len(refused) < 9
    assert (tmp_path / "log.csv").read_text() == kept and os.listdir(tmp_path) == ["log.csv"]


def test_missing_empty_folder_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match="no file"):
        checkpoint.read(tmp_path / "gone.npz")
    with pytest.raises(UserError, match="is a folder"):
        checkpoint.read(tmp_path)
    for content, message in ((b"", "is empty"), (b"emotion,pixels\n", "not a checkpoint"),
                             (b"PK\x03\x04 and no more", "damaged or cut off")):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(UserError, match=message):
            checkpoint.read(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", images=np.zeros(3))
    with pytest.raises(UserError, match="no entry 'meta'"):
        checkpoint.read(tmp_path / "c.npz")


class Loud:
    def __reduce__(self):
        return os.system, ("touch pickle-was-run",)


def test_hostile_files_are_refused_and_nothing_in_them_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shape = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,)}"
    as_object = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", pickle.dumps(np.array([Loud()])))
    ours = {"kind": checkpoint.MODEL, "version": 1}
    zeros = np.zeros(1 << 16, np.float32)
    for message, entries in {
        "holds Python objects": {"w": as_object},
        "claims shape": {"w": npy(shape % (1 << 60))},
        "but has 4 bytes": {"w": npy(shape % -1, b"1234")},
        "plain numbers": {"w": np.zeros(3, [("a", "f4")])},
        "is compressed": {"compression": zipfile.ZIP_DEFLATED, "w": zeros},
        "an entry '../w.npy'": {"../w.npy": zeros},
        "an entry 'run.py'": {"run.py": b"print()"},
        "damaged or cut off": {"w": b"not an array"},
        "not match its checksum": {"w": zeros},
        "version 2": {"meta": {**ours, "version": 2}},
        "holds NaN": {"meta": {**ours, "x": float("nan")}},
        "names no kind": {"meta": {"kind": "other"}},
        "names no kind ": {"meta": [1]},
        "damaged or cut": {"meta": npy("{'descr': '<U9', 'fortran_order': False, 'shape': ()}", b"[\0\0\0" * 9)},
        "is no text": {"meta": npy("{'descr': '|O', 'fortran_order': False, 'shape': ()}").replace(b"O", b"V")},
    }.items():
        meta = entries.get("meta")
        if isinstance(meta, bytes):
            path = tmp_path / "a.npz"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("meta.npy", meta)
        else:
            path = npz(tmp_path / "a.npz", **entries)
        with pytest.raises(UserError) as caught:
            checkpoint.read(path)
        assert message.strip() in str(caught.value), (message, str(caught.value))
    assert os.listdir(tmp_path) == ["a.npz"]


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(UserError, match="w holds numbers that are not finite"):
        checkpoint.read(written(tmp_path, {"w": np.array([1.0, np.nan], np.float16)}))


BYTES = None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["flip", "cut", "insert", "remove"]), st.floats(0, 1), st.binary(max_size=8)),
                min_size=1, max_size=3))
def test_fuzz_gives_the_same_arrays_or_one_user_error(tmp_path, edits):
    global BYTES
    BYTES = BYTES or written(tmp_path).read_bytes()
    data = bytearray(BYTES)
    for kind, where, extra in edits:
        at = int(where * max(0, len(data) - 1))
        if kind == "flip" and data:
            data[at] ^= 1 + (extra[0] if extra else 0) % 255
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = extra
        else:
            del data[at:at + 1 + len(extra)]
    path = tmp_path / "fuzz.npz"
    path.write_bytes(data)
    try:
        arrays, meta = checkpoint.read(path)
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:  # a byte that means nothing was changed: a date, say
        assert meta["name"] == "lite"
        for name, value in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], value)


def test_every_cut_is_one_user_error(tmp_path):
    data = written(tmp_path).read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        with pytest.raises(UserError):
            checkpoint.read(tmp_path / "cut.npz")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        checkpoint.save(tmp_path / "gone" / "a.npz", ARRAYS, {})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = written(tmp_path)
    before = path.read_bytes()
    (tmp_path / "a.npz.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        checkpoint.save(path, {"w": np.zeros(1 << 20)}, {})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_sigkill_at_any_moment_leaves_a_loadable_checkpoint(tmp_path):
    path = tmp_path / "a.npz"
    code = f"""
        import numpy as np
        from tinyfer import checkpoint
        n = 0
        while True:
            checkpoint.save({str(path)!r}, {{"w": np.full(1 << 18, n, np.float32)}}, {{"n": n}})
            n += 1
            print(n, flush=True)
    """
    rng = np.random.default_rng(0)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        arrays, meta = checkpoint.read(path)
        assert (arrays["w"] == meta["n"]).all()
