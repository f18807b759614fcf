"""The endpoint of a run above a scripted transport: what it is asked, what it answers and what it says."""

import asyncio
from collections.abc import Callable
from typing import Any

from connections_env import prompts
from connections_env.endpoint import Endpoint, EndpointSettings
from connections_env.game import GameState, observe
from connections_env.play import Answer, PromptTooLong, Stopped
from connections_env.rulesets import NYT
from tests.boards import PLAIN
from tests.scripted import ScriptedTransport, Seen, Step, refusal, run

KEY = "sk-test-0123456789abcdef"
OPENING = prompts.opening(observe(GameState(PLAIN, NYT)))


class Wire:
    """An endpoint above a scripted transport, and the lines it wrote."""

    def __init__(self, script: Any, **settings: Any) -> None:
        self.lines: list[str] = []
        self.transport = ScriptedTransport(_bounded(script))
        settings = {"model": "m", "base_url": "https://models.invalid/v1", "api_key": KEY} | settings
        self.endpoint = Endpoint(EndpointSettings(**settings), self.transport, self.lines.append)

    @property
    def seen(self) -> list[Seen]:
        return self.transport.seen

    @property
    def why(self) -> str:
        assert self.endpoint.halt is not None
        return self.endpoint.halt.why

    @property
    def said(self) -> str:
        """All that a user would read."""
        return "\n".join([*self.lines, self.why if self.endpoint.halt else ""])

    async def ask(self, request_id: str = "r") -> Answer | str:
        try:
            return await self.endpoint.ask(OPENING, request_id)
        except (PromptTooLong, Stopped) as error:
            return type(error).__name__

    def asks(self, *delays: float) -> list[Answer | str]:
        """One request after each delay, named by its place, all in one run."""

        async def later(n: int, delay: float) -> Answer | str:
            await asyncio.sleep(delay)
            return await self.ask(str(n))

        async def all_of_them() -> list[Answer | str]:
            async with self.endpoint:
                return await asyncio.gather(*(later(n, delay) for n, delay in enumerate(delays)))

        return run(all_of_them())


def _bounded(script: Any) -> Callable[[Seen], Step]:
    """A run that would go on for ever ends by an error that no test expects."""

    def step(seen: Seen) -> Step:
        if seen.nth > 5000:
            return refusal(403, "asked without end")
        return script(seen) if callable(script) else script[min(seen.nth, len(script) - 1)]

    return step
