"""What an error of PostgreSQL, or of the way to it, means for a transaction: by SQLSTATE (PostgreSQL manual,
appendix A), one table."""

from __future__ import annotations

from enum import Enum

import asyncpg


class Verdict(Enum):
    AGAIN = "another transaction was in the way: this one, run again, sees what that one did"
    LOST = "the connection is of no use: once more on a new one"
    UNAVAILABLE = "the server cannot do it now"


# By SQLSTATE, or else by its class, the first two characters.
VERDICTS = {
    "40": Verdict.AGAIN,  # serialization failure, deadlock
    "23": Verdict.AGAIN,  # two nodes inserted the same row: run again, it is there
    "08": Verdict.LOST,
    "25P03": Verdict.LOST,  # idle in transaction for too long
    "25P04": Verdict.LOST,
    "0A000": Verdict.LOST,  # a prepared statement that another node's migration made stale
    "26": Verdict.LOST,
    "57": Verdict.LOST,  # shut down, starting up, terminated by an administrator
    "57014": Verdict.UNAVAILABLE,  # statement_timeout
    "25": Verdict.UNAVAILABLE,  # a standby: read only
    "28": Verdict.UNAVAILABLE,  # refused sign-in
    "3D": Verdict.UNAVAILABLE,  # no such database
    "53": Verdict.UNAVAILABLE,  # disk full, out of memory, too many connections
    "55": Verdict.UNAVAILABLE,  # lock_timeout
    "58": Verdict.UNAVAILABLE,  # I/O error
    "XX": Verdict.UNAVAILABLE,
}
BROKEN = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, EOFError)


def verdict(error: BaseException) -> Verdict | None:
    """None: not an error of the database's, or one that only a mistake of ours explains."""
    if isinstance(error, asyncpg.PostgresError):
        state = getattr(error, "sqlstate", None) or ""
        return VERDICTS.get(state) or VERDICTS.get(state[:2])
    if isinstance(error, ValueError):  # asyncpg.DataError, a value of another type than the column's
        return None
    return Verdict.LOST if isinstance(error, BROKEN) else None
