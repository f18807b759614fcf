"""What the player is told: the rules, the board, and what came of each guess.

Every message is made from an `Observation`, which cannot hold the answer key.
"""

from connections_env.game import Observation, Verdict
from connections_env.items import item_list
from connections_env.rulesets import Ruleset

Message = dict[str, str]

FIRST_WORDS = "You are playing Connections."
"""Of the rules, and so of every conversation."""


def opening(seen: Observation) -> list[Message]:
    """The system message and the first user message."""
    return [{"role": "system", "content": rules(seen.ruleset)}, {"role": "user", "content": _board(seen)}]


def rules(ruleset: Ruleset) -> str:
    if ruleset.mistakes_count_from is None:
        limit = f"Every wrong guess is a mistake, and {ruleset.mistakes_allowed} mistakes end the game."
    else:
        limit = (
            f"While more than {ruleset.mistakes_count_from} groups remain, wrong guesses are free; from then on each "
            f"is a mistake, and {ruleset.mistakes_allowed} mistakes end the game."
        )
    hint = "\n- You are told when all but one of your items belong together." if ruleset.one_away_hint else ""
    themes = (
        "\n- When all groups are found, you name the theme of each, in a single reply." if ruleset.asks_themes else ""
    )
    return f"""{FIRST_WORDS} A board of items divides into groups of equal size. The items of a group \
share a theme, and each item belongs to exactly one group, though some look as if they would fit another.

Rules:
- Each turn, guess one whole group.
- {limit}
- A guess that breaks the rules (wrong number of items, an item that is not on the board or is already found, the same \
guess again) is invalid. It is not a mistake, but it wastes a turn.{hint}
- The last group completes itself.{themes}

Think first, then end your reply with one guess, its items spelled as on the board:
<guess>[`ITEM1`, `ITEM2`, ...]</guess>"""


def _board(seen: Observation) -> str:
    return (
        f"The board holds {len(seen.remaining)} items: {seen.groups_total} groups of {seen.group_size}.\n\n"
        f"Items: {item_list(seen.remaining)}"
    )


def feedback(seen: Observation) -> str:
    """The user message that follows a guess, while the game goes on."""
    if seen.last is None:
        raise ValueError("no guess has been made yet")
    told = f"{_told(seen.last, seen)}\n\nGroups found: {len(seen.found)} of {seen.groups_total}. {_mistakes(seen)}"
    if seen.asks_themes:
        groups = "\n".join(f"{n}. {item_list(group.items)}" for n, group in enumerate(seen.found, 1))
        return (
            f"{told}\n\nAll groups are found:\n{groups}\n\nName the theme of each, in this order. Think first, then "
            'end your reply with:\n<themes>["THEME1", "THEME2", ...]</themes>'
        )
    return f"{told}\n\nRemaining items: {item_list(seen.remaining)}"


def _told(last: Verdict, seen: Observation) -> str:
    if last.status == "correct":
        theme = seen.found[-1].theme if not seen.asks_themes else None
        return f"Correct! The theme is: {theme}" if theme else "Correct!"
    if last.status == "one_away":
        return f"One away: {seen.group_size - 1} of these {seen.group_size} items belong together."
    if last.status == "incorrect":
        return "Incorrect." if last.was_mistake else "Incorrect. No mistake is counted yet."
    return f"Invalid guess: {_broken_rule(last, seen)}"


def _broken_rule(last: Verdict, seen: Observation) -> str:
    match last.reason:
        case "no_guess":
            return "no complete <guess>...</guess> was found in your reply."
        case "several_guesses":
            return "your reply holds several different guesses; give exactly one."
        case "wrong_count":
            return f"a guess has exactly {seen.group_size} items; yours has {len(last.words)}."
        case "not_on_board":
            return "it has an item that is not on the board; spell the items as they are given."
        case "already_found":
            return "it has an item of a group that is already found."
        case "repeated_item":
            return "it has the same item more than once."
        case _:
            return "you have made this guess before."


def _mistakes(seen: Observation) -> str:
    if not seen.mistakes_count:
        return "Mistakes are not counted yet."
    return f"Mistakes: {seen.mistakes} of {seen.ruleset.mistakes_allowed}."


SHORTEN = """You shorten the reasoning of a reply in a word game. The reply holds one <think> block and then an answer.

Rewrite only the inside of the think block: keep the steps that lead to the answer and the reasons against the \
tempting wrong ones, drop repetition and detours, and keep the voice. Return the whole reply and nothing else: \
<think>, the shorter reasoning, </think>, a blank line, and the answer copied exactly, character for character."""


def shorten(reply: str, target_tokens: int) -> list[Message]:
    """Asks for a canonical reply with at most `target_tokens` tokens of reasoning."""
    return [
        {"role": "system", "content": SHORTEN},
        {"role": "user", "content": f"At most {target_tokens} tokens inside the think block.\n\n{reply}"},
    ]
