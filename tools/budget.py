"""Count the code lines a reader has to read, and hold them to their budgets: `make budget`.

A code line carries a token of code: blank lines, comments and docstrings are free, so that nobody saves on them.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "tinyfer"
BUDGETS = {
    350: ("reference",),
    1500: ("reference", "ops", "layers", "optim", "models"),
}
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def code_lines(source: str) -> int:
    """Number of lines of `source` that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(ast.parse(source)))


def count(module: str) -> int:
    """Code lines of tinyfer/module.py, or of the package tinyfer/module."""
    files = [ROOT / f"{module}.py", *(ROOT / module).rglob("*.py")]
    return sum(code_lines(file.read_text(encoding="utf-8")) for file in files if file.exists())


def main() -> int:
    lines = {module: count(module) for modules in BUDGETS.values() for module in modules}
    for module, number in lines.items():
        print(f"{module:12} {number or 'not there':>5}")
    over = False
    for budget, modules in BUDGETS.items():
        total = sum(lines[module] for module in modules)
        over = over or total > budget
        print(f"{' + '.join(modules)}: {total} of {budget} lines{', OVER BUDGET' if total > budget else ''}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
