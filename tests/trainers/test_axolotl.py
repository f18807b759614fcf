"""axolotl reads the folder's Parquet: what is in its loss.

python -m venv .venv-axolotl
.venv-axolotl/bin/pip install axolotl==0.19.0 -r tests/trainers/requirements.txt
.venv-axolotl/bin/python -m pytest tests/trainers/test_axolotl.py
"""

import os
from pathlib import Path

import pytest
import yaml

from tests.trainers.rows import due, hf_folder, settings

os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"  # a test calls nobody
pytest.importorskip("axolotl", reason="not installed: axolotl==0.19.0; see the head of this file")


def loaded(asked, student):
    """Token ids and labels of each row by side, by its own way from a file of settings; their order is its own."""
    from axolotl.cli.config import load_cfg
    from axolotl.loaders import load_tokenizer
    from axolotl.utils.data.sft import prepare_datasets

    here = {"base_model": str(student), "dataset_prepared_path": "prepared", "dataset_num_proc": 1}
    Path("sft.yaml").write_text(yaml.safe_dump(asked | here))
    config = load_cfg("sft.yaml")
    sides = prepare_datasets(config, load_tokenizer(config))[:2]
    return [sorted((row["input_ids"], row["labels"]) for row in side) for side in sides if side is not None]


def test_the_settings_of_the_card_put_every_reply_in_the_loss_and_nothing_else(student, tokenizer):
    rows = hf_folder()
    train, test = loaded(settings("axolotl"), student)
    assert train == sorted(due(row, tokenizer) for row in rows["train"])
    assert test == sorted(due(row, tokenizer) for row in rows["test"])
    assert sorted(len(ids) for ids, _ in train) == sorted(row["num_tokens"] for row in rows["train"])


def test_a_length_below_that_of_a_row_is_an_error_with_them(student):
    hf_folder()
    with pytest.raises(ValueError, match="exceeds the maximum 512"):
        loaded(settings("axolotl") | {"sequence_len": 512}, student)


def test_and_without_them_leaves_the_row_out(student):
    rows = hf_folder()
    asked = settings("axolotl") | {"sequence_len": max(row["num_tokens"] for row in rows["train"]) - 1}
    del asked["excess_length_strategy"]
    train, _ = loaded(asked, student)
    assert len(train) < len(rows["train"])


def test_its_qwen3_template_takes_the_reasoning_of_earlier_turns_off(student, tokenizer):
    hf_folder()
    asked = settings("axolotl") | {"chat_template": "qwen3"}
    del asked["chat_template_jinja"]
    train, _ = loaded(asked, student)
    assert [tokenizer.decode(ids).count("<think>") for ids, _ in train] == [1] * len(train)
