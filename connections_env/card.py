"""The dataset's card: where its games come from, what was done to them, and how to train on them."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from connections_env.dataset import SftRow
from connections_env.formats import Export
from connections_env.schema import columns
from connections_env.splits import rule
from connections_env.tokens import Limits

MADE_HERE = "<!-- written by collate.py of connections-sft: a new run replaces the whole folder -->"
TEMPLATE = "chatml_keep_think.jinja"
STUDENT = "Qwen/Qwen3-4B"
NAME = "Connections games with reasoning"


@dataclass(frozen=True)
class About:
    """What a card tells beyond its rows."""

    export: Export
    limits: Limits
    folder: str
    """As a user who stands where the command was run names it."""
    read: int = 0
    became: Mapping[str, int] = field(default_factory=dict)
    """What became of the rows read -> how many."""
    held_out: Mapping[str, int] = field(default_factory=dict)
    """Source of puzzles that may not be in -> how many it has."""

    @property
    def loads(self) -> str:
        """What `load_dataset` is given."""
        return self.export.hub_id or self.folder


def size_category(rows: int) -> str:
    """The hub's name for a dataset of so many rows."""
    names = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
    place = next((nth for nth, _ in enumerate(names) if rows < 10 ** (3 + nth)), len(names) - 1)
    return f"{names[place - 1]}<n<{names[place]}" if place else "n<1K"


def longest(rows: Iterable[Mapping[str, int]]) -> int:
    """The `max_length` that holds all rows: their most tokens, rounded up to a multiple of 64."""
    return math.ceil(max(row["num_tokens"] for row in rows) / 64) * 64


def text(games: Sequence[SftRow], counts: Mapping[str, int], lengths: Mapping[str, int], about: About) -> str:
    """The card below its head. `counts` are games by split, `lengths` the longest row of each configuration."""
    simulated = sum(game.simulated for game in games)
    warning = f"> **{simulated:,} of {len(games):,} games were played by a simulated player**, not by a model: for "
    parts = [
        MADE_HERE,
        f"# {NAME}",
        *([f"{warning}trying things out, not for training."] if simulated else []),
        f"{len(games):,} won games of the word game *Connections*: a board of items divides into groups that share a "
        "theme; the player names one group a turn and is told how the guess went. Each reply of the player holds its "
        "reasoning and one guess, and every game was played again from its own text before it was let in.",
        _loading(about, counts),
        _columns(),
        _provenance(games),
        _doctoring(games),
        _filters(games, about),
        _budget(games, about),
        f"## Splits\n\n{rule(about.export.test_size if 'test' in counts else 0, counts)}",
        _statistics(games),
        _training(about, lengths, has_test="test" in counts),
        _inference(about),
        _limits(games),
    ]
    return "\n\n".join(parts) + "\n"


def _loading(about: About, counts: Mapping[str, int]) -> str:
    return f"""## Load it

```python
from datasets import load_dataset

games = load_dataset("{about.loads}", split="train")  # {counts["train"]:,} games, a row a game
turns = load_dataset("{about.loads}", "per-turn", split="train")  # a row a right reply
```

| configuration | a row is | for |
|---|---|---|
| `trl` (default) | a game: `prompt` (rules and board), `completion` (all that follows) | TRL |
| `messages` | the same game as one list | LLaMA-Factory, axolotl, torchtune, NeMo |
| `per-turn` | a right reply after a history without reasoning | trainers with the loss on the last turn alone |"""


_MEANINGS = {
    "puzzle_id": "the source's id, with a prefix that keeps ids like 2024-01-05 from being read as dates",
    "prompt": "`trl`, `per-turn`: `role` and `content` of the messages up to the first reply, or the one to learn",
    "completion": "`trl`: all messages from the first reply to the last; `per-turn`: one reply",
    "messages": "`messages`: the whole conversation",
    "reward": "of the game: found groups 4, efficiency 1, valid guesses 0.5, 0.5 for each group only one away; "
    "perfect play has 5.5",
    "accuracy": "right guesses over the player's guesses",
    "guess_history": "each guess and its verdict; `auto` is the last group, which completes itself",
    "categories": "the answer key; a group without linking terms has its theme as one",
    "doctored": "were turns of a failed game cut before it went on?",
    "doctoring_type": "`none` or `gameplay`",
    "complete_reason": "how the game ended; the themes were named too where it is `theme_guessing_complete`",
    "rollout_id": "of the game in the pipeline's results",
    "source": "where the puzzle is from",
    "model": "that played",
    "simulated": "played by a simulated player, for trying things out",
    "resumed_turns": "replies that come from an earlier game which this one goes on from",
    "reduced": "was reasoning shortened?",
    "reducer_model": "by which model; empty where not",
    "tokens_before": "`num_tokens` before it was shortened",
    "num_turns": "replies of the game",
    "num_tokens": "of the whole row, rendered with the chat template",
    "max_reply_tokens": "of the longest reply to learn",
    "tokenizer": "that counted",
    "turn": "`per-turn`: which reply of the game, from 1; `guess_history` ends with it",
}


def _columns() -> str:
    kinds = {**columns("trl"), **columns("messages"), **columns("per-turn")}
    rows = [f"| `{name}` | {_kind(kind)} | {_MEANINGS[name]} |" for name, kind in kinds.items()]
    return "\n".join(["## Columns\n", "| column | type | meaning |", "|---|---|---|", *rows])


def _kind(kind: object) -> str:
    return kind if isinstance(kind, str) else "list"


def _counted(title: str, values: Iterable[str]) -> str:
    counts = Counter(value or "not recorded" for value in values)
    rows = [f"| `{name}` | {count:,} |" for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    return "\n".join([f"| {title} | games |", "|---|---|", *rows])


def _provenance(games: Sequence[SftRow]) -> str:
    return f"""## Where it comes from

Puzzles, each with at most one game; ids are the source's own:

{_counted("source of the puzzle", (game.source for game in games))}

Teachers: the replies, reasoning included, were written by

{_counted("model", ("simulated player" if game.simulated else game.model for game in games))}

The rules, the board and the verdicts after each guess were written by the game. A reply was brought into one form: a
think block, a blank line, the guess with its items spelled as on the board; words after the guess were dropped."""


def _doctoring(games: Sequence[SftRow]) -> str:
    doctored = [game for game in games if game.doctored]
    resumed = sum(game.resumed_turns > 0 and not game.doctored for game in games)
    reduced = [game for game in games if game.reduced]
    lines = [
        "## Doctoring\n",
        f"- **{len(doctored):,} of {len(games):,} games are doctored** (`doctoring_type: gameplay`): a failed game was "
        "cut before its first invalid guess, unfit reply or losing mistake and played on from there. They show fewer "
        f"failures than the teacher makes; {sum(game.resumed_turns for game in doctored):,} of their "
        f"{sum(game.num_turns for game in doctored):,} replies come from before the cut.",
        f"- {resumed:,} games were interrupted and went on later, with nothing cut.",
        f"- **{len(reduced):,} of {len(games):,} games are reduced**: reasoning that was too long was shortened by a "
        "model, guesses untouched.",
    ]
    if reduced:
        before, after = sum(game.tokens_before for game in reduced), sum(game.num_tokens for game in reduced)
        who = ", ".join(f"`{name}`" for name in sorted({game.reducer_model for game in reduced}))
        lines[-1] += f" They had {before:,} tokens and have {after:,}; shortened by {who}."
    return "\n".join(lines)


def _filters(games: Sequence[SftRow], about: About) -> str:
    lines = [
        "## What was let in\n",
        "A game is in only if the game itself would have produced it: played again from its own text, each verdict, "
        "the history, the reward and the outcome are what the rules give; it was won without an invalid guess; every "
        "reply is complete, with reasoning and exactly one guess; it is within the token limits; it is the best of "
        "its puzzle's games.\n",
        f"| of {about.read:,} good games looked at | |",
        "|---|---|",
        *(f"| {what} | {count:,} |" for what, count in sorted(about.became.items(), key=lambda one: (-one[1], one[0]))),
    ]
    if about.held_out:
        held = ", ".join(f"{count:,} of `{name}`" for name, count in sorted(about.held_out.items()))
        lines.append(f"\nHeld out, whatever the order and letter case of their items: puzzles {held}.")
    return "\n".join(lines)


def _budget(games: Sequence[SftRow], about: About) -> str:
    limits, names = about.limits, ", ".join(f"`{name}`" for name in sorted({game.tokenizer for game in games}))
    by_board = "2,048 for boards of up to 16 items, 128 an item and at most 3,072 for larger ones"
    game = f"{limits.game:,}" if limits.game is not None else by_board
    whole = f" Prompt and completion: at most {limits.sequence:,}." if limits.sequence is not None else ""
    return f"""## Tokens

Counted with the tokenizer {names} on the conversation as `{TEMPLATE}` renders it, end-of-turn tokens included. A reply:
at most {limits.reply:,}. A completion: {game}.{whole}"""


def _statistics(games: Sequence[SftRow]) -> str:
    figures: dict[str, list[float]] = {
        "tokens of a game": [game.num_tokens for game in games],
        "tokens of its longest reply": [game.max_reply_tokens for game in games],
        "turns": [game.num_turns for game in games],
        "accuracy": [game.accuracy for game in games],
    }
    for kind in sorted({game.doctoring_type for game in games}):
        figures[f"reward, doctoring `{kind}`"] = [game.reward for game in games if game.doctoring_type == kind]
    rows = [f"| {name} | {len(them):,} | {' | '.join(map(_figure, _spread(them)))} |" for name, them in figures.items()]
    return "\n".join(
        [
            "## Statistics\n",
            "| | games | min | p25 | median | p75 | max | mean |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "\n![tokens of a game](plots/tokens.svg)",
            "![turns of a game](plots/turns.svg)",
            "![rewards by doctoring type](plots/rewards.svg)",
        ]
    )


def _spread(numbers: Sequence[float]) -> tuple[float, ...]:
    p25, median, p75 = statistics.quantiles(numbers, method="inclusive") if len(numbers) > 1 else [*numbers] * 3
    return min(numbers), p25, median, p75, max(numbers), statistics.fmean(numbers)


def _figure(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.2f}"


def _template_path(about: About) -> tuple[str, str]:
    """An import, and the expression that gives the template's path."""
    if about.export.hub_id:
        there = f'hf_hub_download("{about.export.hub_id}", "{TEMPLATE}", repo_type="dataset")'
        return "from huggingface_hub import hf_hub_download\n", there
    return "", f'"{about.folder}/{TEMPLATE}"'


def _training(about: About, lengths: Mapping[str, int], *, has_test: bool) -> str:
    wanted, path = _template_path(about)
    evaluate = '\n    eval_dataset=dataset["test"],' if has_test else ""
    return f"""## Train on it

Stock chat templates take the reasoning of earlier turns off (Qwen3's does), so that the student would learn only its
last one, and many mark no part as the student's. `{TEMPLATE}`, in this folder, keeps all and marks the replies: with
`assistant_only_loss=True`, every think block, guess and end of turn is in the loss, and no rule, board or verdict is.
`max_length` holds the longest row; a trainer's default may cut games short in silence.

```python
from datasets import load_dataset
{wanted}from trl import SFTConfig, SFTTrainer

dataset = load_dataset("{about.loads}")
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

The configuration `messages` trains in the same way. `per-turn` is only for trainers that put the loss on the last turn
alone, since its earlier replies show no reasoning: with TRL, `assistant_only_loss=False` and the default loss on the
completion, `max_length={lengths["per-turn"]}`. It suits templates that take earlier reasoning off, at inference too."""


def _inference(about: About) -> str:
    wanted, path = _template_path(about)
    return f"""## Play with the student

With the same template: `add_generation_prompt=True` opens a reply, generation stops at `<|im_end|>`, and the reply goes
back into the conversation whole, its reasoning included.

```python
from pathlib import Path

from datasets import load_dataset
{wanted}from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("sft"), AutoTokenizer.from_pretrained("sft")
tokenizer.chat_template = Path({path}).read_text()
messages = load_dataset("{about.loads}", split="train")[0]["prompt"]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
output = model.generate(**inputs, eos_token_id=stop, max_new_tokens=1024)
reply = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]).removesuffix("<|im_end|>")
messages.append({{"role": "assistant", "content": reply}})
```"""


def _limits(games: Sequence[SftRow]) -> str:
    perfect = sum(game.accuracy == 1 for game in games)
    return f"""## Known limits

- Only won games are in, and {perfect:,} of {len(games):,} without a mistake: the student sees few errors, and those it
  sees are all recovered from.
- Nothing judges the reasoning beyond the form of a reply and the guess it leads to; it may be wrong where the guess is
  right. It is the teacher's, with the teacher's habits and errors.
- Harder puzzles are under-represented: a puzzle that no game won is not in.
- The puzzles are in English, lean on its idioms and on common cultural knowledge, and belong to those who made them.
- Token counts hold for the tokenizer and the template named above, and for no other."""
