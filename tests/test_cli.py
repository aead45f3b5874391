"""Command lines from dataclasses: flags, --config, help, and a sentence for everything that is wrong."""

import io
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tinyfer import cli
from tinyfer.cli import option
from tinyfer.errors import UserError


@dataclass(frozen=True)
class Options:
    lr: float = option(0.05, "the rate, 100 % yours", above=0)
    batch_size: int = option(128, "pictures a step", low=1)
    share: float | None = option(None, "a share", low=0, high=1)
    model: str = option("lite", "the network", choices=("lite", "vgg"))
    out: str | None = option(None, "a folder", metavar="FOLDER")
    resume: bool = option(False, "go on")


def parse(*words):
    return cli.parse(Options, words, "prog")


def test_defaults_flags_and_what_was_given():
    assert parse() == (Options(), frozenset())
    options, given = parse("--batch-size", "4", "--resume", "--share=0.5", "--out", "a b")
    assert options == Options(batch_size=4, resume=True, share=0.5, out="a b")
    assert given == {"batch_size", "resume", "share", "out"}


def test_words_without_a_flag_are_one_each_or_all_the_rest():
    @dataclass(frozen=True)
    class Words:
        first: str = option("", "a word", metavar="FIRST", positional=True)
        rest: tuple[str, ...] = option((), "more words", metavar="MORE", positional=True)
        flag: int = option(1, "a number")

    assert cli.parse(Words, []) == (Words(), frozenset())
    assert cli.parse(Words, ["a", "--flag", "2"])[0] == Words("a", (), 2)
    assert cli.parse(Words, ["a", "b", "--flag", "2", "c"])[0] == Words("a", ("b", "c"), 2)


def test_a_config_file_is_overridden_by_flags(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('lr = 1\nbatch-size = 64\nresume = true\nmodel = "vgg"\n')
    options, given = parse("--config", str(path), "--lr", "0.5", "--no-resume")
    assert options == Options(lr=0.5, batch_size=64, model="vgg") and given == {"lr", "batch_size", "resume", "model"}


def test_options_survive_a_config_file(tmp_path):
    options = Options(lr=1e-5, out='a "b"\n\\ü', resume=True, share=1.0)
    (tmp_path / "c.toml").write_text(cli.to_toml(options), encoding="utf-8")
    assert parse("--config", str(tmp_path / "c.toml"))[0] == options


@pytest.mark.parametrize(("words", "sentence"), [
    (["--lr", "abc"], "--lr abc: expected a number."),
    (["--lr", "nan"], "--lr nan: expected a number above 0."),
    (["--lr", "0"], "--lr 0.0: expected a number above 0."),
    (["--batch-size", "-4"], "--batch-size -4: expected a whole number, 1 or more."),
    (["--batch-size", "1.5"], "--batch-size 1.5: expected a whole number."),
    (["--share", "2"], "--share 2.0: expected a number from 0 to 1."),
    (["--model", "nope"], "--model nope: expected one of lite, vgg."),
    (["--model", "light"], "--model light: expected one of lite, vgg; did you mean lite?"),
    (["--bathc-size", "4"], "--bathc-size: there is no such option; did you mean --batch-size?, or see --help."),
    (["--lr"], "--lr: expected one argument; see --help."),
    (["word"], "word: there is no such option"),
])  # fmt: skip
def test_wrong_words_are_told_in_one_sentence(words, sentence):
    with pytest.raises(UserError) as caught:
        parse(*words)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(("text", "sentence"), [
    ("bath-size = 4", "bath-size: there is no such option; did you mean batch-size?"),
    ("lr = 'abc'", "lr = 'abc': expected a number."),
    ("batch-size = 1.5", "batch-size = 1.5: expected a whole number."),
    ("batch-size = true", "batch-size = True: expected a whole number."),
    ("resume = 1", "resume = 1: expected true or false."),
    ("lr = -1", "lr = -1: expected a number above 0."),
    ("model = 'light'", "expected one of lite, vgg; did you mean lite?"),
    ("[table]\nlr = 1", "table: there is no such option"),
    ("lr = ", "is not a TOML file"),
])  # fmt: skip
def test_a_wrong_config_file_is_told_in_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        parse("--config", str(path))
    assert sentence in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("value", ["32", '"32"'])
def test_one_value_where_a_list_belongs(tmp_path, value):
    @dataclass(frozen=True)
    class Growing:
        sizes: tuple[int, ...] = option((), "sizes", low=1)

    (tmp_path / "c.toml").write_text(f"sizes = {value}")
    with pytest.raises(UserError, match=rf"sizes = .*: expected a list, such as \[{value}\]\."):
        cli.read_config(Growing, tmp_path / "c.toml")


def test_a_missing_config_file():
    with pytest.raises(UserError, match=r"--config gone.toml: cannot be read"):
        parse("--config", "gone.toml")


def test_help_shows_defaults(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    assert "100 % yours (default: 0.05)" in text and "--batch-size N" in text and "{lite,vgg}" in text


def fails(error):
    def run(options):
        raise error
    return run


@pytest.mark.parametrize(("run", "status"), [
    (lambda options: None, 0), (lambda options: 1, 1), (fails(UserError("no good")), 2),
    (fails(KeyboardInterrupt()), 130), (fails(MemoryError()), 2), (fails(ModuleNotFoundError(name="cv2")), 2),
    (fails(PermissionError(13, "Permission denied", "photos")), 2), (fails(OSError("no text for it")), 2),
])  # fmt: skip
def test_exit_status(run, status, capsys):
    assert cli.status(Options, run, []) == status
    assert "Traceback" not in capsys.readouterr().err


def test_what_the_system_refuses_is_told_with_its_place(capsys):
    assert cli.status(Options, fails(PermissionError(13, "Permission denied", "my photos")), []) == 2
    assert capsys.readouterr().err.startswith("error: my photos: the system refuses this (Permission denied); see ")
    assert cli.status(Options, fails(OSError(28, "No space left on device")), []) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: the system refuses this (No space left on device)") and err.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no file that is always full")
def test_output_that_has_no_room_is_told():
    code = ("import dataclasses; from tinyfer import cli\n"
            "cli.main(dataclasses.make_dataclass('O', []), lambda options: print('words'), [])")
    with open("/dev/full", "w") as full:
        run = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True,
                             cwd=pathlib.Path(__file__).parent.parent)
    assert run.returncode == 2 and run.stderr.startswith("error: ") and run.stderr.count("\n") == 1, run.stderr


def test_a_sign_that_the_console_does_not_know_ends_nothing(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    assert cli.status(Options, lambda options: print("2.1 ≥ 2"), []) == 0
    assert raw.getvalue().strip() == b"2.1 ? 2"


def test_a_mark_before_the_text_is_none_of_it(tmp_path):
    """Notepad's "UTF-8 with BOM"."""
    (tmp_path / "c.toml").write_text("lr = 0.5\n", encoding="utf-8-sig")
    assert parse("--config", str(tmp_path / "c.toml"))[0].lr == 0.5


def test_debug_shows_the_traceback(capsys):
    assert cli.status(Options, fails(UserError("no good")), ["--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and err.endswith("error: no good\n")


def test_a_programming_error_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        cli.status(Options, fails(ZeroDivisionError()), [])
