"""Whose terms hold for the puzzles and the replies of a dataset, for its card: told by their names alone."""

import re

from connections_env.records import SIMULATED
from connections_env.sources import is_hub_id

PIPELINE = "connections-sft"

_MAKERS_API = "those of [{}]({}) if asked at its maker's API, else those of the endpoint"
_OPEN_WEIGHTS = "those of its license, and of the endpoint it was asked at"
# By a model's name after any prefix of an endpoint or an organisation; the first that fits. Without a page they are
# open weights, which anybody may serve. Pages as of autumn 2026.
_FAMILIES = {
    r"(?:.*/)?deepseek-ai/|(?:.*[/.:])?(?:gpt-oss|deepseek[\w.-]*-distill|gemma|llama)": None,
    r"(?:.*[/.:])?deepseek": (
        "DeepSeek",
        "https://cdn.deepseek.com/policies/en-US/deepseek-open-platform-terms-of-service.html",
    ),
    # Others have models called gpt-j and o1 too.
    r"(?:.*[/.:])?(?:gpt-\d|chatgpt)|(?:.*openai[/.])?o[134]\b": ("OpenAI", "https://openai.com/policies/"),
    r"(?:.*[/.:])?claude": ("Anthropic", "https://www.anthropic.com/legal/commercial-terms"),
    r"(?:.*[/.:])?gemini": ("Google", "https://ai.google.dev/gemini-api/terms"),
}


def model_terms(model: str) -> str:
    """Who sets the terms for what a model wrote, by its family: nobody wrote down where it was asked."""
    if model == SIMULATED:
        return f"none: it is part of {PIPELINE}"
    for family, page in _FAMILIES.items():
        if re.match(family, model, re.IGNORECASE):
            return _MAKERS_API.format(*page) if page else _OPEN_WEIGHTS
    return "those of its maker and of the endpoint"


def source_terms(source: str) -> str:
    """Where the terms of a source's puzzles stand."""
    if source == "builtin":
        return f"made for {PIPELINE}"
    if is_hub_id(source):
        return f"see [its card](https://huggingface.co/datasets/{source})"
    return "those of whoever made the puzzles"
