"""NeMo AutoModel reads the folder's Parquet and the lines of an export: what is in its loss.

python -m venv .venv-nemo
.venv-nemo/bin/pip install nemo-automodel==0.7.0 -r tests/trainers/requirements.txt
.venv-nemo/bin/python -m pytest tests/trainers/test_nemo.py
"""

import importlib
import json
from pathlib import Path

import pytest

import collate
from connections_env.examples import canonical_row
from connections_env.parsing import Reply
from connections_env.snippets import TEMPLATE_FILE
from tests.rollouts import board, results_file, rollout, script_replies
from tests.trainers.rows import IGNORED, STRIPS, due, exported, hf_folder, settings

pytest.importorskip("nemo_automodel", reason="not installed: nemo-automodel==0.7.0; see the head of this file")


def loaded(asked, tokenizer):
    """Token ids and labels of each row; it moves labels by one, so that they stand where they are predicted."""
    module, _, name = asked["_target_"].rpartition(".")
    given = {key: value for key, value in asked.items() if key != "_target_"}
    made = getattr(importlib.import_module(module), name)(tokenizer=tokenizer, **given)
    return [(row["input_ids"], row["labels"]) for row in (made[nth] for nth in range(len(made)))]


def moved(ids, labels):
    return ids[:-1], labels[1:]


def test_the_settings_of_the_card_put_every_reply_in_the_loss_and_nothing_else(tokenizer):
    rows = hf_folder()["train"]
    made = loaded(settings("NeMo AutoModel")["dataset"], tokenizer)
    assert made == [moved(*due(row, tokenizer)) for row in rows]


@pytest.mark.parametrize("reasoning", ["inline", "split"])
def test_lines_of_messages_load_too(tokenizer, reasoning):
    rows = exported("--format", "messages", "--reasoning-format", reasoning)
    asked = settings_for("rows.jsonl")
    assert loaded(asked, tokenizer) == [moved(*due(row, tokenizer)) for row in rows]


def settings_for(path):
    target = "nemo_automodel.components.datasets.llm.chat_dataset.ChatDataset"
    return {"_target_": target, "path_or_dataset_id": path, "chat_template": str(TEMPLATE_FILE)}


def test_line_ends_of_unicode_in_a_reply_end_no_row(tokenizer):
    replies = [
        Reply(reply.content, "One\u2028two\u2029three\x85four, and so on.", "stop", 40)
        for reply in script_replies(board(1), "RRR")
    ]
    results_file(Path("good.jsonl"), [canonical_row(rollout(board(1), replies))])
    argv = ["good.jsonl", "--no-default-exclude", "--format", "messages", "--output", "rows.jsonl"]
    assert collate.main(argv) == 0
    (row,) = map(json.loads, Path("rows.jsonl").read_bytes().splitlines())
    assert any("\u2028" in message["content"] for message in row["messages"])
    (made,) = loaded(settings_for("rows.jsonl"), tokenizer)
    assert made == moved(*due(row, tokenizer))


def test_truncation_cuts_games_in_silence(tokenizer):
    hf_folder()
    asked = settings("NeMo AutoModel")["dataset"] | {"truncation": True, "seq_length": 512}
    made = loaded(asked, tokenizer)
    assert {len(ids) for ids, _ in made} <= {511, 512}
    assert all(any(label != IGNORED for label in labels) for _, labels in made)


def test_a_template_that_takes_reasoning_off_is_refused(tokenizer):
    hf_folder()
    with pytest.raises(ValueError, match="rewrites earlier turns"):
        loaded(settings("NeMo AutoModel")["dataset"] | {"chat_template": STRIPS}, tokenizer)
