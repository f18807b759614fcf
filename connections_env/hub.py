"""Sends a dataset folder to the Hugging Face hub: the one thing here that reaches it to write.

The token is the hub client's own business (`hf auth login`): it is neither read nor told here.
"""

import contextlib
import re
import sys
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connections_env.arguments import UsageError
from connections_env.files import shown

REPO = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)


class NotSent(OSError):
    """The hub did not take the folder; the message is one line."""


def hub_id(text: str) -> str:
    """The value of `--push-to-hub`."""
    if not REPO.fullmatch(text) or any(bad in text for bad in ("--", "..")) or text.endswith((".git", ".", "-")):
        raise ArgumentTypeError(f"{text!r} is no dataset id like your-name/connections-sft")
    return text


def check_login() -> None:
    """Raises `UsageError` where the hub's client has no token or may not go out; asks nobody."""
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UsageError("HF_HUB_OFFLINE keeps the hub's client from sending anything; unset it, or push later")
    if not huggingface_hub.get_token():
        raise UsageError("not logged in to the hub, so nothing could be sent; log in with: hf auth login")


@dataclass(frozen=True)
class Published:
    """A dataset that is on the hub."""

    commit: str
    card: str
    """Empty where it has none."""


def look(repo: str) -> Published | None:
    """The dataset of this name as the hub has it now; None where it has none. Raises `NotSent`."""
    import huggingface_hub
    from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError

    client = huggingface_hub.HfApi()
    with _told(f"the hub did not tell whether it has {repo}", "nothing was written"):
        try:
            commit = client.repo_info(repo, repo_type="dataset").sha or ""
        except RepositoryNotFoundError:
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = client.hf_hub_download(
                    repo, "README.md", repo_type="dataset", revision=commit or None, local_dir=folder
                )
                card = Path(path).read_text(encoding="utf-8", errors="replace")
            except RemoteEntryNotFoundError:
                card = ""
    return Published(commit, card)


def check_can_agree(repo: str) -> None:
    """Raises `UsageError` where nobody is there to be asked whether a dataset may be replaced."""
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(f"{repo} exists on the hub and was left as it is; --yes replaces what is in it")


def push(folder: Path, repo: str, there: Published | None, *, yes: bool) -> str:
    """Makes a dataset of the hub hold exactly this folder; gives its address.

    A new one is private. One that was `there` is replaced if `yes`, or if whoever sits at the terminal agrees. What was
    changed there since, by others, is left as it is. Raises `UsageError` where they do not agree or nobody is there to,
    and `NotSent`.
    """
    import huggingface_hub

    if there and not yes:
        _agree(folder, repo)
    client = huggingface_hub.HfApi()
    with _told(f"the hub did not take {shown(folder)} as {repo}", f"{shown(folder)} is written"):
        if not there:
            client.create_repo(repo, repo_type="dataset", private=True)
        client.upload_folder(
            repo_id=repo,
            folder_path=str(folder),
            repo_type="dataset",
            commit_message="A dataset of connections-sft",
            delete_patterns=["*"],  # what an earlier dataset left there would be loaded with this one
            parent_commit=(there.commit or None) if there else None,
        )
    return f"https://huggingface.co/datasets/{repo}"


@contextlib.contextmanager
def _told(refused: str, kept: str) -> Iterator[None]:
    """What goes wrong on the way to the hub as `NotSent`: who refused what, and what there is all the same."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        raise NotSent(f"{refused}: {_why(error)}") from None
    except (httpx2.HTTPError, OSError) as error:  # its text may hold what was sent
        raise NotSent(f"the hub could not be reached ({type(error).__name__}); {kept}") from None
    except ValueError as error:  # a card that the hub does not take, an answer that is none
        raise NotSent(f"{refused}: {error!s:.200}") from None


def _why(error: Any) -> str:
    """Kind and status of an error, without its text, in which a request may be told."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    meanwhile = "it was made or changed there meanwhile; run the same command again"
    kinds: dict[object, str] = {401: "the login is not valid", 403: "the login may not write there"}
    kinds |= dict.fromkeys((409, 412), meanwhile)
    told = kinds.get(status, type(error).__name__)
    return f"{told} (status {status})" if status else told


def _agree(folder: Path, repo: str) -> None:
    check_can_agree(repo)
    try:
        answer = input(f"{repo} exists on the hub. Replace all that is in it with {shown(folder)}? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError(f"{repo} was left as it is; {shown(folder)} is written")
