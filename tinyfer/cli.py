"""Command lines made from dataclasses: one frozen dataclass is a program's flags, its help and
the keys of its --config.

    @dataclass(frozen=True)
    class Options:
        lr: float = option(0.05, "the peak learning rate", above=0)

    def run(options: Options) -> int | None: ...            # what the program does; its result is the exit status

    if __name__ == "__main__":
        cli.main(Options, run, prog="python -m tinyfer.train")

Flags are kebab-case, a TOML file given by --config holds the same names, flags override it. Exit status: 0 done,
1 a check failed, 2 bad usage or input (one sentence; --debug shows where from), 130 stopped by Ctrl-C."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import io
import math
import os
import pathlib
import sys
import time
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from tinyfer.errors import UserError

BEGUN = time.perf_counter()  # programs import this file first: near enough when the process began


def option(default: Any, help: str, *, choices: Sequence[str] | None = None, low: float | None = None,
           high: float | None = None, above: float | None = None, metavar: str | None = None,
           group: str | None = None, positional: bool = False) -> Any:
    """A dataclass field that is also a flag: its default, its help, what it may be and under which heading it stands.

    low <= value <= high, or above < value; positional: a word without a flag, or all of them where it is a tuple."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "low": low, "high": high,
                             "above": above, "metavar": metavar, "group": group, "positional": positional})


# -------------------------------------------------------------------------------------------------------------- parsing


def parse(options_type: type, argv: Sequence[str], prog: str = "", description: str = "") -> tuple[Any, frozenset[str]]:
    """Words of a command line -> (options, names of the fields that were given, by a flag or by --config).

    --help prints and exits; everything that is wrong is a UserError."""
    fields = _fields(options_type)
    kinds = typing.get_type_hints(options_type)
    parser = _parser(fields, kinds, prog, description)
    space, rest = parser.parse_known_intermixed_args(list(argv))
    words = {name: value for name, value in vars(space).items() if name in fields}
    if rest:
        raise UserError(f"{rest[0]}: {_unknown(rest[0], [_flag(name) for name in fields] + ['--config', '--debug'])}, "
                        f"or see --help.")
    values = read_config(options_type, space.config) if getattr(space, "config", None) else {}
    for name, word in words.items():
        where = fields[name].metadata["metavar"] if fields[name].metadata["positional"] else _flag(name)
        values[name] = _checked(fields[name], kinds[name], _from_word(kinds[name], word, where), where)
    return options_type(**values), frozenset(values)


def _fields(options_type: type) -> dict[str, dataclasses.Field]:
    """Fields by name, the class's own before those that it inherits."""
    own = inspect.get_annotations(options_type)
    fields = sorted(dataclasses.fields(options_type), key=lambda field: field.name not in own)
    return {field.name: field for field in fields}


def read_config(options_type: type, path) -> dict[str, Any]:
    """The values that a TOML file gives to fields of the dataclass; anything else in it is a UserError."""
    fields = {field.name: field for field in dataclasses.fields(options_type)}
    kinds = typing.get_type_hints(options_type)
    values = {}
    for key, value in read_toml(path).items():
        name = key.replace("-", "_")
        if name not in fields:
            raise UserError(f"{path}: {key}: {_unknown(key, [_kebab(name) for name in fields])}.")
        values[name] = _checked(fields[name], kinds[name], _from_toml(kinds[name], value, f"{path}: {key}"),
                                f"{path}: {key} = {value!r}")
    return values


def from_values(options_type: type, values: dict[str, Any]) -> Any:
    """Options from stored values (a checkpoint's); names this version does not know are left out."""
    known = {field.name for field in dataclasses.fields(options_type)}
    return options_type(**{name: tuple(value) if isinstance(value, list) else value
                           for name, value in values.items() if name in known})


def to_toml(options: Any) -> str:
    """Options as the text of a --config file; what is not set is left out."""
    lines = [f"{_kebab(name)} = {_toml_value(value)}" for name, value in dataclasses.asdict(options).items()
             if value is not None]
    return "\n".join(lines) + "\n"


def _kebab(name: str) -> str:
    return name.replace("_", "-")


def _flag(name: str) -> str:
    return "--" + _kebab(name)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.split("=")[0].replace("_", "-"), known, n=1, cutoff=0.5)
    return "there is no such option" + (f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
                                        if len(known) < 8 else "")  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UserError(message.removeprefix("argument ") + "; see --help.")


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog):
        super().__init__(prog, max_help_position=30, width=min(100, max(60, _columns())))


def _columns() -> int:
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 100


def _parser(fields, kinds, prog: str, description: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=prog or None, description=description, allow_abbrev=False, formatter_class=_Formatter,
                     argument_default=argparse.SUPPRESS)
    groups: dict[str, Any] = {}
    for name, field in fields.items():
        told = field.metadata
        heading = told["group"]
        group = groups.setdefault(heading, parser.add_argument_group(heading)) if heading else parser
        metavar = told["metavar"] or ("{" + ",".join(told["choices"]) + "}" if told["choices"] else None)
        help = (told["help"] + _default(field)).replace("%", "%%")
        if told["positional"]:
            many = typing.get_origin(kinds[name]) is tuple
            group.add_argument(name, nargs="*" if many else "?", metavar=metavar,
                               help=told["help"].replace("%", "%%"))
        elif kinds[name] is bool:
            group.add_argument(_flag(name), action=argparse.BooleanOptionalAction, help=help)
        elif typing.get_origin(kinds[name]) is tuple:
            group.add_argument(_flag(name), nargs="+", metavar=metavar or "TEXT", help=help)
        else:
            group.add_argument(_flag(name), metavar=metavar or _METAVARS.get(_base(kinds[name]), "TEXT"), help=help)
    general = parser.add_argument_group("general")
    general.add_argument("--config", metavar="TOML", help="a file that holds any of these options; flags override it")
    general.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


_METAVARS = {int: "N", float: "X", str: "TEXT"}


def _default(field) -> str:
    """The default for the help text, unless the text tells it already or there is none."""
    if field.default is None or field.default is False or field.default == () or "default" in field.metadata["help"]:
        return ""
    return f" (default: {'yes' if field.default is True else field.default})"


# --------------------------------------------------------------------------------------------------------------- values


def _base(kind) -> type:
    """int for `int | None`."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def _item(kind) -> type | None:
    """int for `tuple[int, ...]`; None for what is no tuple."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None


_EXPECTED = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _from_word(kind, word, where: str):
    if isinstance(word, list):
        return tuple(_from_word(_item(kind), part, where) for part in word)
    base = _base(kind)
    if base in (int, float):
        try:
            return base(word)
        except ValueError:
            raise UserError(f"{where} {word}: expected {_EXPECTED[base]}.") from None
    return word


def _from_toml(kind, value, where: str):
    base = _base(kind)
    if base is float and type(value) is int:
        return float(value)
    if item := _item(kind):
        if not isinstance(value, list):
            raise UserError(f"{where} = {value!r}: expected a list, such as [{_toml_value(value)}].")
        return tuple(_from_toml(item, part, where) for part in value)
    if base in _EXPECTED and type(value) is not base:
        raise UserError(f"{where} = {value!r}: expected {_EXPECTED[base]}.")
    return value


def _checked(field, kind, value, where: str):
    """value, if it is one that the field may have."""
    if item := _item(kind):
        return tuple(_checked(field, item, part, where) for part in value)
    told = field.metadata
    shown = where if "=" in where else f"{where} {value}"
    if told["choices"] and value not in told["choices"]:
        near = difflib.get_close_matches(str(value), told["choices"], n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UserError(f"{shown}: expected one of {', '.join(told['choices'])}{hint}")
    if _base(kind) in (int, float):
        low, high, above = told["low"], told["high"], told["above"]
        if (not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high)
                or (above is not None and value <= above)):
            raise UserError(f"{shown}: expected {_EXPECTED[_base(kind)]}{_range(low, high, above)}.")
    return value


def _range(low, high, above) -> str:
    if above is not None:
        return f" above {above:g}" + (f", at most {high:g}" if high is not None else "")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    return f", {low:g} or more" if low is not None else f", at most {high:g}" if high is not None else ""


def read_toml(path) -> dict[str, Any]:
    """A TOML file as plain values; what cannot be read, or is none, is a UserError."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"--config {path}: cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: is not a TOML file: {error}.") from error


def _toml_value(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, str):
        escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in value)
        return f'"{escaped}"'
    return repr(value)


# ----------------------------------------------------------------------------------------------------------- exit codes


def main(options_type: type, run: Callable[..., int | None], argv: Sequence[str] | None = None, *, prog: str = "",
         description: str = "") -> typing.NoReturn:
    """Parse, run, and end the process with the exit status that the outcome calls for.

    A `run` that takes two arguments is also told which options were given, as a frozenset of names."""
    sys.exit(status(options_type, run, sys.argv[1:] if argv is None else argv, prog=prog, description=description))


def status(options_type: type, run: Callable[..., int | None], argv: Sequence[str], *, prog: str = "",
           description: str = "") -> int:
    """The exit status of a program run with these words, its error printed: what `main` ends the process with."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign that a console or a pipe has no room for ends nothing
            stream.reconfigure(errors="replace")
    try:
        options, given = parse(options_type, argv, prog, description)
        result = run(options, given) if run.__code__.co_argcount == 2 else run(options)
        sys.stdout.flush()
        return int(result or 0)
    except UserError as error:
        return _told(str(error), argv)
    except ModuleNotFoundError as error:
        return _told(f"this needs the package {error.name}: pip install {error.name}", argv)
    except MemoryError as error:
        return _told(f"the memory does not suffice{f' ({error})' if str(error) else ''}; make the batch or the model "
                     f"smaller.", argv)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: no more to say
        _drop_output()
        return 1
    except OSError as error:  # a disk that is full, a folder that is not the user's: nothing of ours is broken
        try:
            sys.stdout.flush()
        except OSError:  # it was the output itself
            _drop_output()
        where = f"{error.filename}: " if error.filename is not None else ""
        return _told(f"{where}the system refuses this ({error.strerror or error}); see that there is space, and that "
                     f"it is yours to read or write.", argv)


def _drop_output() -> None:
    """Nothing more to stdout, not at exit either, which would end the process with a status of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(sentence: str, argv: Sequence[str]) -> int:
    if "--debug" in argv:
        traceback.print_exc()
    print(f"error: {sentence}", file=sys.stderr)
    return 2
