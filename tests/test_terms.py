"""Whose terms the card names for models and for puzzles."""

from pathlib import Path

import pytest

from connections_env.terms import model_terms, source_terms
from tests.rollouts import boards, puzzle_file

OPEN = "those of its license, and of the endpoint it was asked at"
UNKNOWN = "those of its maker and of the endpoint"


@pytest.mark.parametrize(
    ("maker", "models"),
    [
        ("DeepSeek", ["deepseek-flash", "deepseek/deepseek-r1", "DeepSeek-V3", "accounts/x/models/deepseek-v3"]),
        (
            "OpenAI",
            ["gpt-5", "openai/gpt-4o", "o1", "o3-mini", "openai/o4-mini", "chatgpt-4o-latest", "ft:gpt-4o:me::x"],
        ),
        ("Anthropic", ["claude-x", "us.anthropic.claude-sonnet-4", "bedrock/eu.anthropic.claude-opus-4-v1:0"]),
        ("Google", ["gemini-2.5-pro", "models/gemini-x", "google/gemini-x"]),
    ],
)
def test_a_model_goes_by_the_terms_of_its_maker_where_that_was_asked(maker, models):
    for model in models:
        told = model_terms(model)
        assert told.startswith(f"those of [{maker}](https://"), model
        assert told.endswith(") if asked at its maker's API, else those of the endpoint"), model


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-oss-120b",
        "gpt-oss:20b",
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        "deepseek-ai/DeepSeek-V3",
        "deepseek-r1-distill-llama-70b",
        "google/gemma-3-27b-it",
        "meta-llama/Llama-3.3-70B-Instruct",
        "us.meta.llama3-3-70b-instruct-v1:0",
    ],
)
def test_open_weights_go_by_their_license_whoever_made_them(model):
    assert model_terms(model) == OPEN


@pytest.mark.parametrize(
    "model", ["", "b", "local", "my-gpt-5", "EleutherAI/gpt-j-6b", "someone/o1-replica", "o1x", "qwen-claude", "o10"]
)
def test_a_name_that_only_holds_or_resembles_that_of_a_family_is_nobodys(model):
    assert model_terms(model) == UNKNOWN


def test_the_simulated_player_has_no_terms():
    assert model_terms("simulated") == "none: it is part of connections-sft"


def test_a_folder_of_this_machine_is_no_dataset_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert source_terms("data/puzzles") == "see [its card](https://huggingface.co/datasets/data/puzzles)"
    Path("data/puzzles").mkdir(parents=True)
    puzzle_file(Path("data/puzzles/some.jsonl"), boards(1))
    assert source_terms("data/puzzles") == "those of whoever made the puzzles"
    monkeypatch.chdir("data")
    assert source_terms("./data/puzzles") == "those of whoever made the puzzles"
