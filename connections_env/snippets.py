"""What the dataset's card says of loading it, training on it with TRL and playing: code that runs as it is."""

import json
from collections.abc import Mapping
from pathlib import Path

TEMPLATE = "chatml_keep_think.jinja"
TEMPLATE_FILE = Path(__file__).parent.parent / TEMPLATE
STUDENT = "Qwen/Qwen3-4B"


def loading(loads: str, games: int) -> str:
    """`loads` is what `load_dataset` is given: a folder or an id of the hub."""
    name = json.dumps(loads, ensure_ascii=False)
    return f"""## Load it

```python
from datasets import load_dataset

games = load_dataset({name}, split="train")  # a row a game: {games:,}
turns = load_dataset({name}, "per-turn", split="train")  # a row a right reply
```

| configuration | a row is | for |
|---|---|---|
| `trl` (default) | a game: `prompt` (rules and board), `completion` (all that follows) | TRL |
| `messages` | the same game as one list | LLaMA-Factory, axolotl, verl, torchtune, NeMo AutoModel |
| `per-turn` | a right reply after a history without reasoning | trainers with the loss on the last turn alone |"""


def training(loads: str, lengths: Mapping[str, int], *, on_hub: bool, has_test: bool) -> str:
    """`lengths` are the tokens that the longest row of each configuration needs."""
    name, (wanted, path) = json.dumps(loads, ensure_ascii=False), _template(loads, on_hub=on_hub)
    evaluate = '\n    eval_dataset=dataset["test"],' if has_test else ""
    return f"""## Train on it with TRL

Stock chat templates take the reasoning of earlier turns off (Qwen3's does), so that the student would learn only \
its last one, and many mark no part as the student's. `{TEMPLATE}`, in this folder, keeps all and marks the replies: \
with `assistant_only_loss=True`, every think block, guess and end of turn is in the loss, and no rule, board or \
verdict is. `max_length` holds the longest row; a trainer's default may cut games short in silence.

```python
from datasets import load_dataset
{wanted}from trl import SFTConfig, SFTTrainer

dataset = load_dataset({name})
trainer = SFTTrainer(
    model="{STUDENT}",
    args=SFTConfig(
        output_dir="sft",
        chat_template_path={path},
        eos_token="<|im_end|>",
        assistant_only_loss=True,
        max_length={lengths["trl"]},
    ),
    train_dataset=dataset["train"],{evaluate}
)
trainer.train()
trainer.save_model("sft")
```

The configuration `messages` trains in the same way. `per-turn` is only for trainers that put the loss on the last \
turn alone, since its earlier replies show no reasoning: with TRL, `assistant_only_loss=False` and the default loss \
on the completion, `max_length={lengths["per-turn"]}`. It suits templates that take earlier reasoning off, at \
inference too."""


def playing(loads: str, *, on_hub: bool) -> str:
    name, (wanted, path) = json.dumps(loads, ensure_ascii=False), _template(loads, on_hub=on_hub)
    return f"""## Play with the student

With the same template: `add_generation_prompt=True` opens a reply, generation stops at `<|im_end|>`, and the reply \
goes back into the conversation whole, its reasoning included.

```python
from pathlib import Path

from datasets import load_dataset
{wanted}from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("sft"), AutoTokenizer.from_pretrained("sft")
tokenizer.chat_template = Path({path}).read_text()
messages = load_dataset({name}, split="train")[0]["prompt"]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
output = model.generate(**inputs, eos_token_id=stop, max_new_tokens=1024)
reply = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]).removesuffix("<|im_end|>")
messages.append({{"role": "assistant", "content": reply}})
```"""


def _template(loads: str, *, on_hub: bool) -> tuple[str, str]:
    """An import, and the expression that gives the template's path."""
    if on_hub:
        there = f'hf_hub_download("{loads}", "{TEMPLATE}", repo_type="dataset")'
        return "from huggingface_hub import hf_hub_download\n", there
    return "", json.dumps(f"{loads}/{TEMPLATE}", ensure_ascii=False)
