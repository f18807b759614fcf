"""verl reads the folder's Parquet: what is in its loss, and what it refuses.

python -m venv .venv-verl
.venv-verl/bin/pip install verl==0.9.1 uvicorn fastapi -r tests/trainers/requirements.txt
.venv-verl/bin/python -m pytest tests/trainers/test_verl.py
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.trainers.rows import IGNORED, STRIPS, due, hf_folder, settings, stretches

pytest.importorskip("verl", reason="not installed: verl==0.9.1; see the head of this file")


def exported_template():
    """What the card's shell sets TEMPLATE to."""
    card = Path("sft_dataset/README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^export TEMPLATE=.*$", card, re.MULTILINE)
    return subprocess.run(["bash", "-c", f'{line}; printf %s "$TEMPLATE"'], capture_output=True, check=True).stdout


def loaded(asked, student, monkeypatch, template=None):
    """Token ids and labels of each row, by its own way from its configuration to a row; and the tokenizer."""
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf
    from verl.trainer.sft_trainer import create_sft_dataset
    from verl.utils.config import omega_conf_to_dataclass

    monkeypatch.setitem(os.environ, "TEMPLATE", template or exported_template().decode())
    assert asked["defaults"] == ["sft_trainer_engine", "_self_"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("sft_trainer_engine")
    config = OmegaConf.merge(config, {"model": asked["model"] | {"path": str(student)}, "data": asked["data"]})
    tokenizer = omega_conf_to_dataclass(config.model).tokenizer
    made = create_sft_dataset(config.data.train_files, config.data, tokenizer, None)
    rows = []
    for row in (made[nth] for nth in range(len(made))):
        ids, learned = row["input_ids"].tolist(), row["loss_mask"].tolist()
        rows.append((ids, [token if learn else IGNORED for token, learn in zip(ids, learned, strict=True)]))
    return rows, tokenizer


def test_the_settings_of_the_card_put_every_reply_in_the_loss_and_nothing_else(student, tokenizer, monkeypatch):
    rows = hf_folder()["train"]
    made, _ = loaded(settings("verl"), student, monkeypatch)
    assert made == [due(row, tokenizer, newline=True) for row in rows]
    assert [len(ids) for ids, _ in made] == [row["num_tokens"] for row in rows]


def test_a_length_below_that_of_a_row_is_an_error(student, monkeypatch):
    hf_folder()
    asked = settings("verl")
    asked["data"]["max_length"] = 512
    with pytest.raises(ValueError, match="is larger than"):
        loaded(asked, student, monkeypatch)


def test_a_template_that_takes_reasoning_off_is_refused(student, monkeypatch):
    hf_folder()
    with pytest.raises(AssertionError, match="ignore_input_ids_mismatch"):
        loaded(settings("verl"), student, monkeypatch, STRIPS)


def test_such_a_template_with_ignore_input_ids_mismatch_leaves_no_reasoning(student, monkeypatch):
    hf_folder()
    asked = settings("verl")
    asked["data"]["ignore_input_ids_mismatch"] = True
    made, tokenizer = loaded(asked, student, monkeypatch, STRIPS)
    assert not any("Thought" in text for ids, labels in made for text in stretches(ids, labels, tokenizer))
