"""One table of command-line flags for every script, so that a flag means the same everywhere."""

import argparse
from pathlib import Path
from typing import Any

from connections_env.arguments import DEFAULT_BASE_URL, at_least, base_url, between, json_object, variable_name
from connections_env.rulesets import NYT, RULESETS
from connections_env.truncation import TRUNCATE_MODES

DEFAULT_MODEL = "deepseek-flash"
STRENGTHS = ("weak", "low", "middle", "strong", "best")
Flag = tuple[tuple[str, ...], dict[str, Any]]
_yes: dict[str, Any] = {"action": "store_true"}

TABLE: dict[str, dict[str, Flag]] = {
    "puzzles": {
        "puzzles": (
            ("--puzzles",),
            {
                "metavar": "SOURCE",
                "help": "dataset id, file or folder (.json .jsonl .csv .yaml .parquet), or builtin; "
                "default ericbotti/connections-puzzles, offline builtin",
            },
        ),
        "split": (("--split",), {"help": "split to take; default train_sft for datasets and builtin, all of a file"}),
        "puzzle_ids_file": (
            ("--puzzle-ids-file",),
            {"type": Path, "metavar": "FILE", "help": "take only the puzzles whose ids it lists, one a line"},
        ),
        "num_examples": (
            ("-n", "--num-examples"),
            {"type": at_least(1), "metavar": "N", "help": "take only the first N puzzles"},
        ),
        "ruleset": (("--ruleset",), {"choices": RULESETS, "default": NYT.name, "help": "rules to play by (nyt)"}),
    },
    "results": {
        "results_dir": (
            ("--results-dir",),
            {
                "type": Path,
                "metavar": "DIR",
                "help": "where results_N.jsonl lie; default generate_results beside the "
                "script, offline its folder offline/",
            },
        ),
    },
    "play": {
        "rollouts_per_example": (
            ("-r", "--rollouts-per-example"),
            {"type": at_least(1), "default": 1, "metavar": "R", "help": "games per puzzle (1)"},
        ),
        "max_turns": (
            ("--max-turns",),
            {
                "type": at_least(1),
                "metavar": "N",
                "help": "replies a game may take, anew when it is resumed; default "
                "10, or the board's groups + mistakes allowed + 3 where that is more",
            },
        ),
        "seed": (("--seed",), {"type": int, "default": 0, "help": "order of the games and offline player (0)"}),
        "allow_empty_reasoning": (
            ("--allow-empty-reasoning",),
            _yes | {"help": "go on even if the first 20 replies hold no reasoning"},
        ),
    },
    "endpoint": {
        "model": (("-m", "--model"), {"default": DEFAULT_MODEL, "help": f"model to ask ({DEFAULT_MODEL})"}),
        "base_url": (
            ("-b", "--base-url"),
            {
                "type": base_url,
                "default": DEFAULT_BASE_URL,
                "metavar": "URL",
                "help": f"OpenAI-compatible endpoint ({DEFAULT_BASE_URL})",
            },
        ),
        "api_key_var": (
            ("-k", "--api-key-var"),
            {
                "default": "DEEPSEEK_API_KEY",
                "type": variable_name,
                "metavar": "NAME",
                "help": "environment variable that holds the key (DEEPSEEK_API_KEY); a loopback URL needs none",
            },
        ),
        "temperature": (("-T", "--temperature"), {"type": between(0, 2), "help": "0 to 2; not sent unless given"}),
        "top_p": (("--top-p",), {"type": between(0, 1), "help": "0 to 1; not sent unless given"}),
        "max_tokens": (
            ("-t", "--max-tokens"),
            {"type": at_least(1), "metavar": "N", "help": "limit of one reply; not sent unless given"},
        ),
        "reasoning_effort": (("--reasoning-effort",), {"help": "low, high, max...; not sent unless given"}),
        "sampling_args": (
            ("-S", "--sampling-args"),
            {"type": json_object, "default": {}, "metavar": "JSON", "help": "goes into the request body as it is"},
        ),
        "max_concurrent": (
            ("-c", "--max-concurrent"),
            {"type": at_least(1), "default": 64, "metavar": "N", "help": "most requests in flight (64)"},
        ),
        "max_retries": (
            ("--max-retries",),
            {"type": at_least(0), "default": 6, "metavar": "N", "help": "retries of one request (6)"},
        ),
        "timeout": (
            ("--timeout",),
            {"type": at_least(0.001, float), "default": 600.0, "metavar": "SECONDS", "help": "for one request (600)"},
        ),
    },
    "budget": {
        "give_up_after": (
            ("--give-up-after",),
            {
                "type": at_least(0, float),
                "default": 300.0,
                "metavar": "SECONDS",
                "help": "stop when nothing but failures came for so long (300)",
            },
        ),
        "max_cost": (
            ("--max-cost",),
            {"type": at_least(0, float), "metavar": "USD", "help": "stop when so much is spent; needs the prices"},
        ),
        "token_budget": (
            ("--token-budget",),
            {"type": at_least(1), "metavar": "N", "help": "stop when so many tokens went in and out"},
        ),
    },
    "prices": {
        "price_input": (
            ("--price-input",),
            {"type": at_least(0, float), "metavar": "USD", "help": "per million input tokens"},
        ),
        "price_cached": (
            ("--price-cached",),
            {
                "type": at_least(0, float),
                "metavar": "USD",
                "help": "per million cached input tokens; default as --price-input",
            },
        ),
        "price_output": (
            ("--price-output",),
            {"type": at_least(0, float), "metavar": "USD", "help": "per million output tokens"},
        ),
    },
    "report": {
        "report": (
            ("--report",),
            {"type": Path, "metavar": "FILE.html", "help": "write a page of all games; replaces an older report only"},
        ),
        "report_games": (
            ("--report-games",),
            {
                "type": at_least(1),
                "metavar": "N",
                "help": "most games in the page (10000): the chosen ones, then the newest bad ones; all are counted",
            },
        ),
        "view": (("--view",), _yes | {"help": "serve the page on this machine until Ctrl-C, and open the browser"}),
        "port": (
            ("--port",),
            {"type": at_least(1), "metavar": "N", "help": "where --view serves, or the next free port (8800)"},
        ),
    },
    "progress": {
        "progress_every": (
            ("--progress-every",),
            {
                "type": at_least(0, float),
                "default": 30.0,
                "metavar": "SECONDS",
                "help": "between two lines of progress where stderr is no terminal (30); 0: no progress anywhere",
            },
        ),
    },
    "offline": {
        "offline": (("--offline",), _yes | {"help": "no key, no network: bundled puzzles, a simulated player"}),
        "player_strength": (
            ("--player-strength",),
            {"choices": STRENGTHS, "default": "strong", "help": "of the simulated player (strong)"},
        ),
    },
    "tokens": {
        "tokenizer": (
            ("--tokenizer",),
            {
                "default": "qwen3",
                "metavar": "NAME",
                "help": "qwen3 (default), a tiktoken encoding, a .tiktoken file, or a tokenizer.json (path or hub id)",
            },
        ),
        "max_reply_tokens": (
            ("--max-reply-tokens",),
            {"type": at_least(1), "default": 1024, "metavar": "N", "help": "limit of one reply (1024)"},
        ),
        "max_game_tokens": (
            ("--max-game-tokens",),
            {
                "type": at_least(1),
                "metavar": "N",
                "help": "limit of a completion; default 2048 for boards of up to 16 items, else 128 an item, 3072 at "
                "most",
            },
        ),
        "max_sequence_tokens": (
            ("--max-sequence-tokens",),
            {"type": at_least(1), "metavar": "N", "help": "limit of prompt and completion together; default none"},
        ),
    },
    "files": {
        "output_dir": (
            ("--output-dir",),
            {"type": Path, "default": Path(), "metavar": "DIR", "help": "where the step's files lie (here)"},
        ),
    },
    "salvage": {
        "truncate": (
            ("--truncate",),
            {
                "choices": TRUNCATE_MODES,
                "default": "last-valid",
                "help": "where bad games are cut: before the first "
                "invalid guess or unfit reply or the losing mistake (last-valid), or also before the mistakes that led "
                "there (last-correct)",
            },
        ),
    },
}


def add_flags(parser: argparse.ArgumentParser, *sections: str) -> None:
    """Adds the flags of sections of the table; `section.flag` adds a single one."""
    for wanted in sections:
        section, _, single = wanted.partition(".")
        group = parser.add_argument_group(section)
        for destination, (names, keywords) in TABLE[section].items():
            if single in ("", destination):
                group.add_argument(*names, dest=destination, **keywords)
