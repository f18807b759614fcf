"""How every command ends: one line for what went wrong, and an exit status that says whose turn it is."""

import contextlib
import os
import sys
from collections.abc import Callable

from connections_env.arguments import UsageError
from connections_env.json_lines import BadRow, FutureRow
from connections_env.play import Disagrees
from connections_env.signals import all_like_ctrl_c
from connections_env.sources import SourceError
from connections_env.terminal import Output, say


def exit_status(work: Callable[[], int], *, colours: bool = False) -> int:
    """What `work` returns; 2 for what was known to be wrong beforehand, 130 for Ctrl-C and the like.

    1 for bad data or disks, and where nobody reads the output any more. With `colours` what is printed may set them.
    """
    _open_what_is_closed()
    try:
        with all_like_ctrl_c(), contextlib.redirect_stdout(Output(sys.stdout, colours=colours)):
            status = work()
            sys.stdout.flush()  # what cannot be said is to be known here, not when the interpreter ends
        return status
    except BrokenPipeError:  # `| head` has seen enough; what was paid for is saved by now
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UsageError, SourceError) as error:
        say(f"error: {error}")
        return 2
    except (BadRow, FutureRow, Disagrees, OSError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _open_what_is_closed() -> None:
    """A standard stream that the shell closed (`>&-`) leads nowhere, and no file of ours takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
