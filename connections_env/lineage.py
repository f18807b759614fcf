"""Who wrote the replies of a game that went on from others, and where those were cut."""

from collections.abc import Callable, Iterable
from itertools import groupby

from connections_env.records import Cut, Rollout


def stretches(reply_models: Iterable[str]) -> list[str]:
    """Who wrote replies, in their order: a name for each stretch of them that is one model's."""
    return [model for model, _ in groupby(reply_models)]


def played_by(rollout: Rollout, name: Callable[[str], str] = str) -> str:
    """The same in words, each model by the `name` it is given; empty where nobody wrote it down."""
    models = stretches(rollout.reply_models)
    if not any(models):
        return name(rollout.model)
    return ", then ".join(name(model) if model else "an unknown model" for model in models)


def cuts_after(rollout: Rollout, turns: int) -> list[Cut]:
    """The cuts behind so many of the replies that are left; a later one that kept less took those behind it away."""
    cuts = rollout.cuts
    return [
        cut
        for nth, cut in enumerate(cuts)
        if cut.kept == turns and all(later.kept >= turns for later in cuts[nth + 1 :])
    ]
