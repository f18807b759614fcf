"""torchtune reads the folder's Parquet with the tokenizer of Qwen2.5: what is in its loss.

python -m venv .venv-torchtune
.venv-torchtune/bin/pip install torchtune==0.6.1 torchao==0.17.0 -r tests/trainers/requirements.txt
.venv-torchtune/bin/python -m pytest tests/trainers/test_torchtune.py
"""

import pytest

from tests.trainers.rows import hf_folder, replies, settings, stretches

pytest.importorskip("torchtune", reason="not installed: torchtune==0.6.1; see the head of this file")


@pytest.fixture
def vocabulary(here, tokenizer):
    """The files of Qwen2.5's vocabulary, which is Qwen3's but for the think tags."""
    tokenizer.backend_tokenizer.model.save(str(here))
    return {"path": str(here / "vocab.json"), "merges_file": str(here / "merges.txt")}


def loaded(vocabulary, **changes):
    """The rows as its configuration makes them; and the tokenizer."""
    from omegaconf import OmegaConf
    from torchtune import config

    asked = OmegaConf.create(settings("torchtune"))
    tokenizer = config.instantiate(OmegaConf.merge(asked.tokenizer, vocabulary, changes))
    made = config.instantiate(asked.dataset, tokenizer)
    return [(list(row["tokens"]), list(row["labels"])) for row in (made[nth] for nth in range(len(made)))], tokenizer


def test_the_settings_of_the_card_put_every_reply_in_the_loss_and_no_rule_board_or_verdict(vocabulary):
    rows = hf_folder()["train"]
    made, tokenizer = loaded(vocabulary)
    for row, (ids, labels) in zip(rows, made, strict=True):
        due = [f"<|im_start|>assistant\n{reply}<|im_end|>\n" for reply in replies(row)]
        due[-1] = due[-1].removesuffix("\n")  # it ends the last message by the end of the text
        assert stretches(ids, labels, tokenizer) == due
        assert len(ids) >= row["num_tokens"] - 1


def test_a_length_below_that_of_a_row_cuts_it_in_silence(vocabulary):
    hf_folder()
    assert {len(ids) for ids, _ in loaded(vocabulary, max_seq_len=512)[0]} == {512}
