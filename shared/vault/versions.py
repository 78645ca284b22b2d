"""Which version of an entry is the newest, for writers that must not overwrite each other."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EntryVersion:
    """The newest version of an entry: its number, and whether a reader gets anything.

    Number 0: this vault has never written the entry, or has forgotten it. It may still be there,
    as the files of a directory that somebody else wrote. A version that was deleted keeps its
    number, and nobody can read it. The number after a write of ours is one higher; what somebody
    else wrote may have any other.
    """

    number: int
    is_readable: bool
