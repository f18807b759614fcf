"""Games of known thoughts, their rows as an export writes them, and what of a row is to be in the loss."""

import re
from pathlib import Path

import yaml

import collate
from connections_env.examples import canonical_row
from connections_env.game import GameState
from connections_env.parsing import Reply
from connections_env.play import take_reply
from connections_env.rulesets import NYT
from tests.boards import FIVE, PLAIN
from tests.rollouts import board, results_file, rollout, scripted_reply

IGNORED = -100  # torch's cross entropy leaves labels of this value out

# What of Qwen3's own template matters here: replies before the last message of the user lose their reasoning.
STRIPS = """{%- set ns = namespace(last=messages|length - 1) -%}
{%- for message in messages -%}{%- if message.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for message in messages -%}
{%- set text = message.content -%}
{%- if message.role == 'assistant' and loop.index0 <= ns.last -%}
{%- set text = text.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' + text + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""  # noqa: E501


def game(puzzle, script):
    """A won game each of whose replies has a thought of its own."""
    state, replies = GameState(puzzle, NYT), []
    for turn, letter in enumerate(script, 1):
        reply = scripted_reply(state, letter)
        replies.append(Reply(reply.content, f"Thought {turn}: naïve, 12,345 — “so”.\n\nOr not? 🤔", "stop", 40))
        state = take_reply(state, replies[-1])
    return canonical_row(rollout(puzzle, replies))


def exported(*flags, games=None):
    """The rows of an export, loaded as a trainer loads them."""
    import datasets

    games = games or [game(PLAIN, "ORRWR"), game(FIVE, "RRRR"), game(board(1), "RRR")]
    results_file(Path("good.jsonl"), games)
    assert collate.main(["good.jsonl", "--no-default-exclude", "--output", "rows.jsonl", *flags]) == 0
    return datasets.load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="cache")


GAMES = (("PLAIN", "ORRWR"), ("FIVE", "RRRR"), (1, "RRR"), (2, "WRRR"), (3, "RRR"), (4, "RRR"))


def hf_folder():
    """`sft_dataset`, with a train and a test split; gives the rows of `messages` by split."""
    import pyarrow.parquet

    named = {"PLAIN": PLAIN, "FIVE": FIVE}
    results_file(Path("good.jsonl"), [game(named.get(which) or board(which), script) for which, script in GAMES])
    flags = ["--no-default-exclude", "--format", "hf", "--license", "mit", "--test-size", "2"]
    assert collate.main(["good.jsonl", *flags]) == 0
    return {
        split: pyarrow.parquet.read_table(f"sft_dataset/messages/{split}-00000-of-00001.parquet").to_pylist()
        for split in ("train", "test")
    }


def settings(trainer):
    """What the card gives as the settings of a trainer."""
    card = Path("sft_dataset/README.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^### {re.escape(trainer)} [\d.]+\n(.*?)(?=^#)", card, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


def stretches(ids, labels, tokenizer):
    """The texts in the loss, a text a stretch of tokens that follow each other."""
    found, stretch = [], []
    for token, label in zip([*ids, 0], [*labels, IGNORED], strict=True):
        if label != IGNORED:
            assert label == token
            stretch.append(token)
        elif stretch:
            found.append(tokenizer.decode(stretch))
            stretch = []
    return found


def told(row):
    return row["messages"] if "messages" in row else row["prompt"] + row["completion"]


def text_of(message):
    beside = message.get("reasoning_content")
    return f"<think>\n{beside}\n</think>\n\n{message['content']}" if beside else message["content"]


def due(row, tokenizer, *, newline=False):
    """Token ids and labels of a row, a message after the other: replies and their end of turn are learned.

    With `newline`, the newline after an end of turn too, as some trainers have it.
    """
    ids, labels = [], []
    for message in told(row):
        head = tokenizer.encode(f"<|im_start|>{message['role']}\n")
        body = tokenizer.encode(text_of(message) + "<|im_end|>")
        end = tokenizer.encode("\n")
        if message["role"] != "assistant":  # one text to the tokenizer, where a newline joins what follows it
            head, body, end = [], [], tokenizer.encode(f"<|im_start|>{message['role']}\n{text_of(message)}<|im_end|>\n")
        ids += head + body + end
        labels += [IGNORED] * len(head) + body + (end if body and newline else [IGNORED] * len(end))
    return ids, labels


def replies(row):
    return [text_of(message) for message in told(row) if message["role"] == "assistant"]
