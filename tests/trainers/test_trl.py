"""TRL takes each export as it is: what is in the loss token by token, and training that learns.

    uv run --group trainers pytest tests/trainers

Stock chat templates are those that TRL itself carries.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

import collate
from connections_env.snippets import TEMPLATE_FILE
from tests.rollouts import board, results_file
from tests.trainers.rows import IGNORED, due, exported, game, replies, stretches

pytest.importorskip("torch", reason="not installed: uv run --group trainers pytest tests/trainers")
trl = pytest.importorskip("trl", reason="not installed: uv run --group trainers pytest tests/trainers")

ROOT = TEMPLATE_FILE.parent
STOCK = Path(trl.__file__).parent / "chat_templates"


def trainer_for(dataset, student, tokenizer, **options):
    config = trl.SFTConfig(
        output_dir="out",
        use_cpu=True,
        bf16=False,
        report_to="none",
        per_device_train_batch_size=1,
        **({"max_length": None} | options),
    )
    return trl.SFTTrainer(model=str(student), args=config, train_dataset=dataset, processing_class=tokenizer)


def tokens_and_labels(trainer):
    """Of each row, as its loss is computed."""
    batches = [trainer.data_collator([row]) for row in trainer.train_dataset]
    return [(batch["input_ids"][0].tolist(), batch["labels"][0].tolist()) for batch in batches]


def learned(trainer, tokenizer):
    return (stretches(ids, labels, tokenizer) for ids, labels in tokens_and_labels(trainer))


@pytest.mark.parametrize(
    ("layout", "reasoning"),
    [("trl", "inline"), ("trl", "split"), ("messages", "inline"), ("messages", "split"), ("openai", "inline")],
)
def test_every_think_guess_and_end_of_turn_is_in_the_loss_and_nothing_else(
    student, tokenizer, template, layout, reasoning
):
    rows = exported("--format", layout, "--reasoning-format", reasoning)
    tokenizer.chat_template = template
    trainer = trainer_for(rows, student, tokenizer, assistant_only_loss=True)
    assert tokens_and_labels(trainer) == [due(row, tokenizer) for row in rows]
    # The same in words.
    for row, found in zip(rows, learned(trainer, tokenizer), strict=True):
        assert found == [reply + "<|im_end|>" for reply in replies(row)]
        assert len(found) > 2
        assert all(re.fullmatch(r"<think>\nThought .*\n</think>\n\n<guess>.*</guess><\|im_end\|>", one, re.DOTALL)
                   for one in found)  # fmt: skip


def test_the_columns_of_counts_are_what_the_trainer_counts(student, tokenizer, template):
    rows = exported()
    tokenizer.chat_template = template
    made = tokens_and_labels(trainer_for(rows, student, tokenizer, assistant_only_loss=True))
    assert [len(ids) for ids, _ in made] == rows["num_tokens"]
    longest = [max(len(tokenizer.encode(reply + "<|im_end|>")) for reply in replies(row)) for row in rows]
    assert longest == rows["max_reply_tokens"]


def test_without_assistant_only_loss_verdicts_are_in_the_loss_too(student, tokenizer, template):
    tokenizer.chat_template = template
    (found, *_) = learned(trainer_for(exported(), student, tokenizer), tokenizer)
    assert "Mistakes: 1 of 4" in found[0]


def test_a_max_length_below_that_of_a_row_cuts_it_in_silence(student, tokenizer, template):
    rows = exported()
    tokenizer.chat_template = template
    cut = tokens_and_labels(trainer_for(rows, student, tokenizer, assistant_only_loss=True, max_length=512))
    assert max(len(ids) for ids, _ in cut) == 512 < min(rows["num_tokens"])


@pytest.mark.parametrize("stock", ["qwen3.jinja", None])
def test_the_loss_of_a_turn_is_on_its_one_reply(student, tokenizer, template, stock):
    rows = exported("--format", "per-turn")
    tokenizer.chat_template = (STOCK / stock).read_text(encoding="utf-8") if stock else template
    trainer = trainer_for(rows, student, tokenizer)
    assert [*learned(trainer, tokenizer)] == [[row["completion"][0]["content"] + "<|im_end|>\n"] for row in rows]
    for row, (ids, labels) in zip(rows, tokens_and_labels(trainer), strict=True):
        shown = tokenizer.decode([token for token, label in zip(ids, labels, strict=True) if label == IGNORED])
        assert "<think>" not in shown
        assert shown.count("<|im_start|>assistant\n") == 1 + sum(m["role"] == "assistant" for m in row["prompt"])


def test_the_stock_template_of_qwen3_shows_the_reasoning_of_the_last_reply_alone(student, tokenizer):
    """Why the dataset brings a template of its own."""
    rows = exported()
    tokenizer.chat_template = (STOCK / "qwen3.jinja").read_text(encoding="utf-8")
    trainer = trainer_for(rows, student, tokenizer)
    for row, (ids, _) in zip(rows, tokens_and_labels(trainer), strict=True):
        text = tokenizer.decode(ids)
        assert text.count("<think>") == 1
        assert [f"Thought {turn}:" in text for turn in range(1, row["num_turns"] + 1)][-2:] == [False, True]


def test_the_stock_template_of_qwen2_5_shows_messages_as_they_are(student, tokenizer):
    rows = exported()
    tokenizer.chat_template = (STOCK / "qwen2_5.jinja").read_text(encoding="utf-8")
    trainer = trainer_for(rows, student, tokenizer, assistant_only_loss=True)
    for row, found in zip(rows, learned(trainer, tokenizer), strict=True):
        assert [text.strip("\n") for text in found] == [reply + "<|im_end|>" for reply in replies(row)]


@pytest.mark.parametrize("layout", ["trl", "messages", "per-turn"])
def test_ten_steps_lower_the_loss(student, tokenizer, template, layout):
    rows = exported("--format", layout, games=[game(board(number), "RRR") for number in range(2)])
    tokenizer.chat_template = template
    trainer = trainer_for(
        rows, student, tokenizer, assistant_only_loss=layout != "per-turn", max_steps=10, logging_steps=1,
        learning_rate=1e-2, lr_scheduler_type="constant", save_strategy="no",
    )  # fmt: skip
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 10
    assert losses[-1] < losses[0] - 1


FEW = 'output_dir="sft", max_steps=2, per_device_train_batch_size=1, use_cpu=True, bf16=False, report_to="none",'


def with_a_tiny_student(code, student):
    """The code, but for a tiny student, few steps and few tokens."""
    changes = {'"Qwen/Qwen3-4B"': json.dumps(str(student)), 'output_dir="sft",': FEW}
    for wanted, instead in changes.items():
        assert wanted in code
        code = code.replace(wanted, instead)
    return code


def test_the_code_of_the_readme_runs(here, student, capsys):
    results_file(Path("good.jsonl"), [game(board(number), "RRR") for number in range(3)])
    assert collate.main(["good.jsonl", "--no-default-exclude"]) == 0
    shutil.copy(TEMPLATE_FILE, here)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    exec(with_a_tiny_student(code, student), {})
    assert "'train_runtime'" in capsys.readouterr().out


def test_the_code_of_the_card_runs(here, student):
    games = [game(board(number), "RRR") for number in range(6)]
    results_file(Path("good.jsonl"), games)
    argv = ["good.jsonl", "--no-default-exclude", "--format", "hf", "--license", "mit", "--test-size", "2"]
    assert collate.main(argv) == 0
    card = Path("sft_dataset/README.md").read_text(encoding="utf-8")
    loads, trains, plays = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    space = {}
    exec(loads, space)
    assert (len(space["games"]), len(space["turns"])) == (4, 12)
    exec(with_a_tiny_student(trains, student), space)
    trainer = space["trainer"]
    assert [len(row["input_ids"]) for row in trainer.train_dataset] == space["games"]["num_tokens"]
    assert "max_new_tokens=1024" in plays
    exec(plays.replace("max_new_tokens=1024", "max_new_tokens=4"), space)
    assert space["messages"][-1]["role"] == "assistant"
