"""Who may import whom. Read from the source with `ast`; what does not exist yet is not tested."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "connections_env"
CORE = ("puzzles", "rulesets", "game", "items", "parsing", "prompts", "rewards")
DRIVER = "iterative_generate"
PAID = {"generate_rollouts", "doctor_gameplay", "reduce_tokens", DRIVER}

# Standard modules that reach files, processes or the network; a pure core needs none of them.
IMPURE = {
    *(
        "os",
        "io",
        "pathlib",
        "shutil",
        "tempfile",
        "glob",
        "socket",
        "ssl",
        "select",
        "selectors",
        "asyncio",
        "sqlite3",
    ),
    *("subprocess", "multiprocessing", "threading", "concurrent", "signal", "urllib", "http", "ftplib", "smtplib"),
    *("random", "time", "ctypes", "importlib"),
}
# Slow to import. Only the modules that are about them may do so at import; others inside the function that needs them.
HEAVY = {"openai", "datasets", "huggingface_hub", "tiktoken", "aiohttp", "httpx2", "pyarrow", "pandas", "yaml"}
ABOUT = {
    f"{PACKAGE}.endpoint": {"openai", "httpx2", "aiohttp"},
    f"{PACKAGE}.simulated": {"openai", "httpx2", "aiohttp"},
}

SCRIPTS = {path.stem: path for path in sorted(ROOT.glob("*.py"))}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.glob(f"{PACKAGE}/**/*.py"))
}
FILES = SCRIPTS | MODULES


def is_command(node):
    """The block that runs only where a file is run as a command."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def at_import(tree):
    """The nodes that run when a module is imported: not those in functions, nor those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for alternative in node.orelse:
                yield alternative
                yield from at_import(alternative)
            continue
        yield node
        yield from at_import(node)


def imports(source, name, lazy=True):
    """Absolute names of the modules a source text imports; with lazy=False only those it imports when imported."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not is_command(node)]
    found = set()
    for node in ast.walk(tree) if lazy else at_import(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*name.split(".")[: -node.level], *filter(None, [node.module])] if node.level else [node.module]
            # `from package import module` names a module; `from module import name` does too, harmlessly
            found |= {".".join(base), *(".".join([*base, alias.name]) for alias in node.names)}
    return found


def imports_of(name, lazy=True):
    return imports(FILES[name].read_text(encoding="utf-8"), name, lazy)


def reached(name):
    """All that importing a file imports, through this project's own modules."""
    seen, todo = set(), [name]
    while todo:
        new = imports_of(todo.pop(), lazy=False)
        if PACKAGE in tops(new):
            new.add(f"{PACKAGE}.__init__")
        new -= seen
        seen |= new
        todo += [module for module in new if module in FILES]
    return seen


def tops(names):
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("module", CORE)
def test_the_game_core_needs_only_pydantic_the_standard_library_and_itself(module):
    found = imports_of(f"{PACKAGE}.{module}")
    assert tops(found) <= {"pydantic", PACKAGE, *sys.stdlib_module_names}
    ours = {name.split(".")[1] for name in found if name.startswith(f"{PACKAGE}.")}
    assert ours <= set(CORE)


@pytest.mark.parametrize("module", CORE)
def test_the_game_core_touches_no_files_network_processes_or_clock(module):
    assert not tops(imports_of(f"{PACKAGE}.{module}")) & IMPURE
    tree = ast.parse(FILES[f"{PACKAGE}.{module}"].read_text(encoding="utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "print", "input", "exec", "eval", "__import__"}


@pytest.mark.parametrize("module", CORE)
def test_a_core_module_that_is_also_a_command_leaves_it_to_another(module):
    tree = ast.parse(FILES[f"{PACKAGE}.{module}"].read_text(encoding="utf-8"))
    commands = [[ast.unparse(line) for line in node.body] for node in tree.body if is_command(node)]
    told = [[f"from {PACKAGE}.catalogue import main", "raise SystemExit(main())"]]
    assert commands == (told if module == "puzzles" else [])


PURE = ("boards", "decoding", "layouts")


@pytest.mark.parametrize("module", PURE)
def test_what_reads_rows_touches_no_files_network_processes_or_clock(module):
    found = imports_of(f"{PACKAGE}.{module}")
    assert tops(found) <= {"yaml", PACKAGE, *sys.stdlib_module_names}
    assert not tops(found) & IMPURE
    assert {name.split(".")[1] for name in found if name.startswith(f"{PACKAGE}.")} <= {*PURE, "puzzles"}


@pytest.mark.parametrize("script", sorted(SCRIPTS.keys() - {DRIVER}))
def test_a_script_imports_no_other_script(script):
    assert not tops(imports_of(script)) & SCRIPTS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_the_package_imports_no_script(module):
    assert not tops(imports_of(module)) & SCRIPTS.keys()


@pytest.mark.parametrize("script", sorted(SCRIPTS.keys() - PAID))
def test_a_script_that_is_free_does_not_reach_the_endpoint(script):
    assert f"{PACKAGE}.endpoint" not in imports_of(script) | reached(script)


@pytest.mark.parametrize("name", FILES)
def test_slow_packages_are_imported_at_import_only_by_the_modules_about_them(name):
    assert tops(imports_of(name, lazy=False)) & HEAVY <= ABOUT.get(name, set())


@pytest.mark.parametrize("script", SCRIPTS)
def test_importing_a_script_reaches_no_slow_package(script):
    assert not tops(reached(script)) & HEAVY


@pytest.mark.parametrize(
    "script", [name for name, path in SCRIPTS.items() if "\ndef main(" in path.read_text(encoding="utf-8")]
)
def test_help_of_a_script_imports_no_slow_package(script):
    ask = f"""
import contextlib, io, sys
import {script}
out = io.StringIO()
with contextlib.redirect_stdout(out):
    try:
        status = {script}.main(["--help"])
    except SystemExit as end:
        status = end.code
assert not status, status
assert "usage" in out.getvalue().lower(), out.getvalue()
print(*sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == []


# The reading itself


def test_imports_are_read_wherever_they_stand():
    source = """
import os.path
from . import files
from .tokens import count
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import openai
else:
    import json
try:
    import pandas
except ImportError:
    pass
class A:
    import csv
def f():
    import tiktoken
    from connections_env import endpoint
if __name__ == "__main__":
    from connections_env import catalogue
"""
    at_once = imports(source, f"{PACKAGE}.x", lazy=False)
    assert {"os.path", f"{PACKAGE}.files", f"{PACKAGE}.tokens", "json", "pandas", "csv"} <= at_once
    assert not at_once & {"openai", "tiktoken", f"{PACKAGE}.endpoint"}
    assert {"openai", "tiktoken", f"{PACKAGE}.endpoint"} <= imports(source, f"{PACKAGE}.x")
    assert f"{PACKAGE}.catalogue" not in imports(source, f"{PACKAGE}.x")


def test_there_is_something_to_read():
    assert {f"{PACKAGE}.{module}" for module in CORE} <= MODULES.keys()
