"""The README is true: its commands run, its output is what they print, its flags are those of --help."""

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import generate_rollouts
from connections_env import catalogue, show, simulated
from connections_env.faults import KINDS
from connections_env.records import Rollout
from tests import soak
from tests.benchmarks import __main__ as benchmarks
from tests.test_simulated import start

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
PARSERS = {name: importlib.import_module(name.removesuffix(".py")).parse_args for name in SCRIPTS}
PARSERS["-m connections_env.simulated"] = simulated.parse_args
PARSERS["-m connections_env.puzzles"] = catalogue.parse_args
PARSERS["-m connections_env.show"] = show.parse_args
PARSERS["-m tests.benchmarks"] = benchmarks.parse_args
PARSERS["-m tests.soak"] = soak.parse_args
TIMES = re.compile(r"[\d.]+ s$", re.MULTILINE)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands():
    return [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines() if line[:2] == "$ "]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project without anything a user does not get from git."""
    folder = tmp_path_factory.mktemp("clone")
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    shutil.copytree(ROOT / "connections_env", folder / "connections_env", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(command, folder):
    """Runs `uv run python ...` with this interpreter, as a user would in the project's folder."""
    words = shlex.split(command)
    assert words[:3] == ["uv", "run", "python"]
    return subprocess.run([sys.executable, *words[3:]], cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_one_minute_run_prints_what_the_readme_shows(clone):
    shown = next(block for block in blocks("console") if "Loop 1" in block)
    command, output = shown.removeprefix("$ ").split("\n", 1)
    done = run(command, clone)
    assert done.returncode == 0, done.stderr
    assert TIMES.sub("T s", done.stdout) == TIMES.sub("T s", output)
    assert sorted(path.name for path in (clone / "generate_results" / "offline").iterdir()) == [
        "results_1.jsonl",
        "results_2.jsonl",
        "results_3.jsonl",
    ]


def test_the_catalogue_of_the_bundled_puzzles_is_what_the_readme_shows(clone):
    shown = next(block for block in blocks("console") if "connections_env.puzzles builtin" in block)
    command, output = shown.removeprefix("$ ").split("\n", 1)
    done = run(command, clone)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == output


def test_a_second_run_goes_on_from_the_first(clone):
    command = next(command for command in commands() if "--offline" in command)
    left_at = re.findall(r"\d+ Good, \d+ Bad", run(command, clone).stdout)[-1]
    assert run(command, clone).stdout.startswith(f"Loop 1: {left_at}\n")


def test_the_steps_by_hand_run_one_after_the_other_and_agree_with_the_export(clone):
    walk = next(block for block in blocks("console") if "collate.py" in block).splitlines()
    for command in [*walk, next(f"$ {c}" for c in commands() if "--export" in c)]:
        done = run(command.removeprefix("$ "), clone)
        assert done.returncode == 0, done.stderr
        if "collate.py" in command:
            by_hand = ids(clone / "sft_examples.jsonl")
    exported = ids(clone / "sft_examples.jsonl")
    assert set() != by_hand <= exported  # the driver played on
    for command in (command for command in walk if re.search("filter|reduce|collate", command)):
        run(command.removeprefix("$ "), clone)
    assert ids(clone / "sft_examples.jsonl") == exported


def ids(path):
    return {json.loads(line)["puzzle_id"] for line in path.read_text(encoding="utf-8").splitlines()}


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("uv run python")])
def test_every_command_is_one_its_script_understands(command):
    script, _, rest = command.removeprefix("uv run python ").partition(" ")
    if script == "-m":
        module, _, rest = rest.partition(" ")
        script = f"-m {module}"
    PARSERS[script](shlex.split(rest))


def flags_of(*script):
    done = subprocess.run([sys.executable, *script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    # Descriptions and help texts may name flags too; a flag of the script's own opens its line.
    lines = [line for line in done.stdout.splitlines() if re.match(r"  -", line)]
    return {flag for line in lines for flag in re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", line.split("   ")[0])}


def documented_flags():
    table = README.split("### Flags")[1].split("\n## ")[0]
    names = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `-")]
    return {flag for name in names for flag in re.findall(r"`(--?[\w-]+)`", name)}


def test_documented_flags_are_exactly_those_of_help():
    known = set().union(*map(flags_of, SCRIPTS))
    assert documented_flags() == known - {"-h", "--help"}


def test_the_flags_of_the_catalogue_are_those_its_section_tells_of():
    section = README.split("## Your puzzles")[1].split("\n## ")[0]
    told = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", section)) - {"--puzzles", "-m"}
    assert told == flags_of("-m", "connections_env.puzzles") - {"-h", "--help", "--verbose"}


def test_the_flags_of_show_are_those_its_section_tells_of():
    section = README.split("### In the terminal")[1].split("\n## ")[0]
    told = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", section)) - {"-m"}
    assert told == flags_of("-m", "connections_env.show") - {"-h", "--help", "-v", "--verbose"}


def test_the_shown_record_has_exactly_the_fields_of_a_row():
    record = json.loads(blocks("json")[0])
    assert list(record) == [name for name in Rollout.model_fields if name != "reply_estimated"]
    assert "`reply_estimated`" in README


def test_the_tree_names_every_module_and_script():
    tree = README.split("## Where things are")[1].split("\n## ")[0]
    modules = {path.name for path in [*ROOT.glob("*.py"), *(ROOT / "connections_env").glob("*.py")]} - {"__init__.py"}
    assert modules == set(re.findall(r"\b\w+\.py\b", tree))


def fault_rows():
    rows = re.findall(r"^\| (`.*) \| .* \| (\d) \|$", README.split("| `--fault` |")[1].split("\n\n")[0], re.MULTILINE)
    return [(re.findall("`(.+?)`", kinds), int(status)) for kinds, status in rows]


def test_the_table_of_faults_names_every_kind_once():
    assert sorted(kind for kinds, _ in fault_rows() for kind in kinds) == sorted(KINDS)


@pytest.mark.parametrize(("kinds", "status"), [pytest.param(*row, id=row[0][0]) for row in fault_rows()])
def test_a_run_that_meets_nothing_but_a_fault_ends_as_the_table_says(kinds, status, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOME_KEY", "sk-that-nobody-should-see")
    server = start("builtin", "--fault", f"{kinds[-1]}=1", "--spike", "0.1", "--retry-after", "1")
    try:
        url = server.stdout.readline().split()[-1]
        flags = ["--puzzles", "builtin", "-n", "2", "-c", "2", "--max-turns", "2", "--results-dir", str(tmp_path)]
        flags += ["-b", url, "-k", "SOME_KEY", "--give-up-after", "1", "--allow-empty-reasoning"]
        assert generate_rollouts.main(flags) == status
    finally:
        server.kill()
        server.communicate()
    said = capsys.readouterr().err
    assert "sk-that" not in said
    assert ("stopped: " in said) == bool(status)
