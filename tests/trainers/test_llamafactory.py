"""LLaMA-Factory loads the exports by their dataset_info.json: what is in its loss, and that it learns.

python -m venv .venv-llamafactory
.venv-llamafactory/bin/pip install llamafactory==0.9.5 -r tests/trainers/requirements.txt
.venv-llamafactory/bin/python -m pytest tests/trainers/test_llamafactory.py
"""

import importlib.machinery
import json
import re
import sys
import types
from pathlib import Path

import pytest
import yaml

from connections_env.snippets import TEMPLATE_FILE
from tests.trainers.rows import IGNORED, due, exported, hf_folder, replies, settings, stretches

pytest.importorskip("llamafactory", reason="not installed: llamafactory==0.9.5; see the head of this file")
try:
    import torchaudio  # noqa: F401
except (ImportError, OSError):  # it is for sound alone, and its wheels of PyPI load nowhere but beside CUDA's torch
    module = types.ModuleType("torchaudio")
    module.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = module

README = TEMPLATE_FILE.with_name("README.md")
HERE = {"use_cpu": True, "bf16": False, "report_to": "none", "overwrite_cache": True}


def loaded(asked, student):
    """Its tokenizer, and token ids and labels of each row, by its own way from settings to batches."""
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    model, data, training, *_ = get_train_args({**asked, **HERE, "model_name_or_path": str(student)})
    made = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(made["tokenizer"], data)
    module = get_dataset(template, model, data, training, stage="sft", **made)
    sides = {
        side: [(row["input_ids"], row["labels"]) for row in module.get(f"{side}_dataset", [])]
        for side in ("train", "eval")
    }
    return made["tokenizer"], sides


def test_the_settings_of_the_card_put_every_reply_in_the_loss_and_nothing_else(student, tokenizer):
    rows = hf_folder()
    asked = settings("LLaMA-Factory")
    _, sides = loaded(asked, student)
    for side, split in (("train", "train"), ("eval", "test")):
        assert sides[side] == [due(row, tokenizer, newline=True) for row in rows[split]]
        assert [len(ids) for ids, _ in sides[side]] == [row["num_tokens"] for row in rows[split]]
        assert all(len(ids) <= asked["cutoff_len"] for ids, _ in sides[side])


@pytest.mark.parametrize("template", ["qwen3", "qwen", "qwen3_nothink"])
def test_the_file_of_messages_loads_by_the_entry_beside_it(student, tokenizer, template):
    rows = exported("--format", "messages")
    asked = settings_for_the_file(template=template)
    assert loaded(asked, student)[1]["train"] == [due(row, tokenizer, newline=True) for row in rows]


def settings_for_the_file(**changes):
    asked = {"stage": "sft", "do_train": True, "finetuning_type": "full", "dataset_dir": ".", "dataset": "rows"}
    return {**asked, "template": "qwen3", "cutoff_len": 4096, "output_dir": "out", **changes}


def test_the_settings_of_the_readme_load_the_file_that_collation_writes(student, tokenizer):
    rows = exported("--format", "messages")
    Path("rows.jsonl").rename("sft_examples.jsonl")
    info = Path("dataset_info.json").read_text().replace('"rows"', '"sft_examples"').replace("rows.", "sft_examples.")
    Path("dataset_info.json").write_text(info)
    (block,) = re.findall(r"^```yaml\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    asked = yaml.safe_load(block)
    assert loaded(asked, student)[1]["train"] == [due(row, tokenizer, newline=True) for row in rows]


def test_the_default_cutoff_cuts_longer_games_in_silence():
    from llamafactory.hparams import DataArguments

    assert DataArguments().cutoff_len == 2048


def test_a_cutoff_below_a_row_cuts_it(student):
    rows = exported("--format", "messages")
    cut = loaded(settings_for_the_file(cutoff_len=512), student)[1]["train"]
    assert [len(ids) for ids, _ in cut] == [512] * len(rows)


def test_mask_history_learns_the_last_reply_alone_and_takes_the_reasoning_of_others_off(student):
    rows = exported("--format", "messages")
    tokenizer, sides = loaded(settings_for_the_file(mask_history=True), student)
    for row, (ids, labels) in zip(rows, sides["train"], strict=True):
        assert stretches(ids, labels, tokenizer) == [replies(row)[-1] + "<|im_end|>\n"]
        assert tokenizer.decode(ids).count("<think>") == 1


def test_enable_thinking_false_takes_all_reasoning_off(student):
    rows = exported("--format", "messages")
    tokenizer, sides = loaded(settings_for_the_file(enable_thinking=False), student)
    for row, (ids, labels) in zip(rows, sides["train"], strict=True):
        assert [text for text in stretches(ids, labels, tokenizer) if "Thought" in text] == []
        assert sum(label != IGNORED for label in labels) < row["num_tokens"] / 2


def test_its_training_runs_with_the_settings_of_the_card(student):
    pytest.importorskip("peft", reason="its own training needs peft")
    from llamafactory.train.tuner import run_exp

    hf_folder()
    few = {"max_steps": 2, "per_device_train_batch_size": 1, "save_strategy": "no", "logging_steps": 1}
    run_exp({**settings("LLaMA-Factory"), **HERE, **few, "model_name_or_path": str(student)})
    assert json.loads(Path("sft/all_results.json").read_text())["train_loss"] > 0
