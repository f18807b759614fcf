"""What the dataset's card says to trainers other than TRL: settings that were run, and with which versions.

The tests in tests/trainers read them from a card and compare what each trainer has in its loss, token by token.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath

from connections_env.formats import DATASET_INFO, INFO_NAMES
from connections_env.schema import shard_file
from connections_env.snippets import STUDENT, TEMPLATE


def other_trainers(loads: str, lengths: Mapping[str, int], *, on_hub: bool, has_test: bool) -> str:
    """`loads` is the folder or an id of the hub; `lengths` are the tokens that the longest row of each layout needs."""
    folder = PurePosixPath(loads).name if on_hub else loads
    length = lengths["messages"]
    fetch = f"```bash\nhf download {loads} --repo-type dataset --local-dir {folder}\n```" if on_hub else ""
    parts = [
        "## Train with another trainer",
        "All of them read the rows of `messages` as they are. The data path of each was run with these settings, and "
        "what it has in the loss compared token by token: every think block, guess and end of turn of every reply, and "
        f"no rule, board or verdict. Whatever trains, play with `{TEMPLATE}`: some save the student with another.",
        *(["They read files, so get these first:", fetch] if on_hub else []),
        _llama_factory(folder, length, has_test=has_test),
        _axolotl(folder, length, has_test=has_test),
        _verl(folder, length, has_test=has_test),
        _torchtune(folder),
        _nemo(folder),
    ]
    return "\n\n".join(parts)


def _quoted(text: str) -> str:
    """A text as YAML, which takes JSON's."""
    return json.dumps(text, ensure_ascii=False)


def _file(folder: str, split: str) -> str:
    return _quoted(f"{folder}/{shard_file('messages', split)}")


def _llama_factory(folder: str, length: int, *, has_test: bool) -> str:
    evaluate = f"\neval_dataset: {INFO_NAMES['test']}" if has_test else ""
    return f"""### LLaMA-Factory 0.9.5

It finds the rows by the `{DATASET_INFO}` of this folder: `llamafactory-cli train sft.yaml` with

```yaml
model_name_or_path: {STUDENT}
stage: sft
do_train: true
finetuning_type: full
dataset_dir: {_quoted(folder)}
dataset: {INFO_NAMES["train"]}{evaluate}
template: qwen3
cutoff_len: {length}  # the default of 2,048 cuts longer games short in silence
mask_history: false  # true: the last reply alone is learned, the reasoning of the others is taken off
enable_thinking: true  # false: all reasoning is taken off
preserve_thinking: true  # its own chat then shows the student its earlier reasoning
output_dir: sft
```

The newline after each end of turn is in the loss too."""


def _axolotl(folder: str, length: int, *, has_test: bool) -> str:
    def rows(split: str) -> str:
        return f"""
  - path: {_file(folder, split)}
    ds_type: parquet
    split: train  # of a file; what it holds is the {split} split
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
    train_on_eos: turn"""

    test = f"test_datasets:{rows('test')}" if has_test else "val_set_size: 0"
    return f"""### axolotl 0.19.0

`axolotl train sft.yaml` with

```yaml
base_model: {STUDENT}
datasets:{rows("train")}
{test}
chat_template: jinja
chat_template_jinja: {_quoted(f"{folder}/{TEMPLATE}")}
special_tokens:
  eos_token: <|im_end|>
sequence_len: {length}  # the default is 512
excess_length_strategy: raise  # the default leaves out longer games
micro_batch_size: 1
gradient_accumulation_steps: 8
num_epochs: 2
learning_rate: 1.0e-5
optimizer: adamw_torch
lr_scheduler: cosine
output_dir: sft
```

With its own `qwen3` template, or the model's, the reasoning of earlier turns is gone."""


def _verl(folder: str, length: int, *, has_test: bool) -> str:
    test = f"\n  val_files: {_file(folder, 'test')}" if has_test else ""
    return f"""### verl 0.9.1

```yaml
defaults: [sft_trainer_engine, _self_]
model:
  path: {STUDENT}
  custom_chat_template: ${{oc.env:TEMPLATE}}
data:
  train_files: {_file(folder, "train")}{test}
  messages_key: messages
  max_length: {length}  # the default is 1,024
  truncation: error  # left and right cut games short in silence
  ignore_input_ids_mismatch: false
```

as `sft.yaml`, then

```bash
export TEMPLATE="$(cat {shlex.quote(f"{folder}/{TEMPLATE}")})"
torchrun --nproc_per_node=1 -m verl.trainer.sft_trainer --config-dir . --config-name sft
```

With the model's own template it stops at the first game, since it renders each message by itself and Qwen3's differs \
then. `ignore_input_ids_mismatch: true`, which its message proposes, trains without any reasoning. The newline after \
each end of turn is in the loss too."""


def _torchtune(folder: str) -> str:
    return f"""### torchtune 0.6.1

It has no Qwen3; with Qwen2.5 all reasoning is kept, its tags as plain text. In place of the same parts of a recipe's \
configuration, such as `qwen2_5/3B_full_single_device`:

```yaml
tokenizer:
  _component_: torchtune.models.qwen2_5.qwen2_5_tokenizer
  path: Qwen2.5-3B-Instruct/vocab.json
  merges_file: Qwen2.5-3B-Instruct/merges.txt
  max_seq_len: null  # a number cuts longer games short in silence
dataset:
  _component_: torchtune.datasets.chat_dataset
  source: parquet
  data_files: {_file(folder, "train")}
  conversation_column: messages
  conversation_style: openai
  train_on_input: false
  packed: false
```

The line that opens a reply, `<|im_start|>assistant`, and the newline after its end are in the loss too."""


def _nemo(folder: str) -> str:
    return f"""### NeMo AutoModel 0.7.0

As the data of a recipe:

```yaml
dataset:
  _target_: nemo_automodel.components.datasets.llm.chat_dataset.ChatDataset
  path_or_dataset_id: {_file(folder, "train")}
  split: train
  chat_template: {_quoted(f"{folder}/{TEMPLATE}")}
  truncation: do_not_truncate  # true cuts games to seq_length in silence
  mask_history: false
  mask_reasoning_content: false
```

With Qwen3's own template it stops at the first game."""
