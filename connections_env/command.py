"""How every command ends: one line for what went wrong, and an exit status that says whose turn it is."""

import sys
from collections.abc import Callable

from connections_env.flags import UsageError
from connections_env.play import Disagrees
from connections_env.records import BadRow, FutureRow
from connections_env.sources import SourceError
from connections_env.terminal import printable


def exit_status(work: Callable[[], int]) -> int:
    """What `work` returns; 2 for what was known to be wrong beforehand, 1 for bad data or disks, 130 for Ctrl-C."""
    try:
        return work()
    except (UsageError, SourceError) as error:
        _say(error)
        return 2
    except (BadRow, FutureRow, Disagrees, OSError) as error:
        _say(error)
        return 1
    except KeyboardInterrupt:
        return 130


def _say(error: Exception) -> None:
    print(printable(f"error: {error}"), file=sys.stderr)
