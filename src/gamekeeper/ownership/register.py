"""A register of claims: a file that only grows, and in which every entry vouches for all before it.

One JSON object per line, in canonical form:

    {"at":1795947330,"before":"…","digest":"…","opening":null,"stamps":["…"]}

    digest   the commitment to a claim, 64 hexadecimal digits
    before   SHA-256 of the line before, 64 zeros in the first
    at       when it was written down by the writer's own clock, seconds since 1970: for orientation; stamps prove times
    opening  null, or the 32 bytes that open the commitment, in hexadecimal: the claim was handed to a judge
    stamps   RFC 3161 responses over `stamped(entry)`, in base64

A stamp covers its entry's digest and, through `before`, all entries before it. An edited, added, removed or reordered
entry breaks the chain. Whoever rewrites all later lines as well can hide it, except from somebody who knows the head (the
hash of the last line) or who verifies stamps; and an entry cut off the end is missed by the head alone. So publish heads.

Assumes     one file system on which a rename and an fsync mean what they say
Deviations  none; no paper
"""

import base64
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from gamekeeper.errors import BadClaim
from gamekeeper.ownership.canonical import HEX, hash_bytes, json_bytes, part, read_json
from gamekeeper.ownership.claim import OPENING

FIRST = "0" * 64
"""What the first entry has before it."""
MOST_BYTES, MOST_STAMPS = 2**26, 8
FIELDS = {"at", "before", "digest", "opening", "stamps"}


@dataclass(frozen=True)
class Entry:
    """One line of a register; the fields are those above, as bytes where the file has text."""

    digest: str
    before: str
    at: int
    opening: bytes | None = None
    stamps: tuple[bytes, ...] = ()

    def line(self) -> bytes:
        """As it stands in the file, without the line's end."""
        opening = None if self.opening is None else self.opening.hex()
        stamps = [base64.b64encode(stamp).decode() for stamp in self.stamps]
        fields = {"at": self.at, "before": self.before, "digest": self.digest, "opening": opening, "stamps": stamps}
        return json_bytes(fields)

    def hash(self) -> str:
        """What the next entry has as `before`, and the head of a register that ends here."""
        return sha256(self.line()).hexdigest()


def stamped(entry: Entry) -> bytes:
    """What an authority stamps of an entry, before the stamps are in it: its digest and all entries before it."""
    return part(b"gamekeeper entry 1") + hash_bytes(entry.before) + hash_bytes(entry.digest)


def entry_of(line: bytes, where: str) -> Entry:
    """The entry in a line. Raises BadClaim unless the line is what `Entry.line` writes of it, byte for byte."""
    fields = read_json(line, where)
    try:
        if set(fields) != FIELDS or type(fields["at"]) is not int:
            raise ValueError
        opening = None if fields["opening"] is None else bytes.fromhex(fields["opening"])
        stamps = tuple(base64.b64decode(stamp, validate=True) for stamp in fields["stamps"])
        entry = Entry(str(fields["digest"]), str(fields["before"]), fields["at"], opening, stamps)
        hashes = all(HEX.fullmatch(text) for text in (entry.digest, entry.before))
        whole = hashes and len(stamps) <= MOST_STAMPS and (opening is None or len(opening) == OPENING)
    except (ValueError, TypeError):
        whole, entry = False, None
    if not whole or entry is None or entry.line() != line:
        raise BadClaim(
            f"{where} must be an entry in canonical form: {', '.join(sorted(FIELDS))}. Got {line[:80]!r}. The register was"
            " edited, or is something else; take the copy that you published."
        )
    return entry


def checked(entries: Sequence[Entry], name: str, head: str | None = None) -> None:
    """Raises BadClaim unless the entries are a chain in order of time, in which each opening is of a claim committed before.

    head  the hash of an entry that somebody noted; it must be among them
    """
    before, at, committed, opened = FIRST, 0, set[str](), set[str]()
    for number, entry in enumerate(entries, 1):
        where = f"entry {number} of {name}"
        if entry.before != before:
            raise BadClaim(
                f"{where} must follow {before[:12]}…, but follows {entry.before[:12]}…: an entry was edited, added, removed or"
                " moved. Take the copy that you published."
            )
        if entry.at < at:
            raise BadClaim(
                f"{where} is dated {entry.at}, before the one it follows ({at}). Set the clock of the writer."
            )
        if (entry.opening is None) == (entry.digest in committed) or entry.digest in opened:
            raise BadClaim(
                f"{where} must commit to a new claim, or open one that was committed to and not opened before."
            )
        (committed if entry.opening is None else opened).add(entry.digest)
        before, at = entry.hash(), entry.at
    if head not in {None, FIRST, *(entry.hash() for entry in entries)}:
        raise BadClaim(f"{name} must hold the entry {head}, which was noted as its head. It was cut off or rewritten.")


def read(path: Path, head: str | None = None) -> tuple[Entry, ...]:
    """The entries of a register, checked; none if there is no file. Raises BadClaim.

    An append that was cut short by a crash leaves half a line at the end. Nobody was told of it, so it is no entry.

    head  the hash of an entry that somebody noted: it must still be there
    """
    entries = tuple(entry for entry, _ in lines(path))
    checked(entries, str(path), head)
    return entries


def lines(path: Path) -> list[tuple[Entry, int]]:
    """Each entry with the place in the file where it ends, its line's end included where it has one."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadClaim(f"the register {path} cannot be read: {error.strerror}.") from error
    if len(data) > MOST_BYTES:
        raise BadClaim(f"a register is {MOST_BYTES:,} bytes at most. {path} is longer; begin another.")
    *whole, torn = data.split(b"\n")
    read, end = list[tuple[Entry, int]](), 0
    for number, line in enumerate(whole, 1):
        end += len(line) + 1
        read.append((entry_of(line, f"entry {number} of {path}"), end))
    try:
        return [*read, (entry_of(torn, "the last line"), end + len(torn))] if torn else read
    except BadClaim:
        return read


def upcoming(path: Path, digest: str, at: int, opening: bytes | None = None) -> Entry:
    """The next entry of a register, to be stamped and appended. Raises BadClaim if the register does not hold."""
    entries = read(path)
    return Entry(digest, entries[-1].hash() if entries else FIRST, at, opening)


def append(path: Path, entry: Entry) -> None:
    """Adds an entry and returns once it is on disk. One write, so that a crash leaves the whole line or a torn one.

    Raises BadClaim, and writes nothing, if the register does not hold, or would not with this entry: it opens what was not
    committed to, say, or another entry came before it since `upcoming`.
    """
    with FileLock(f"{path}.lock"):
        present = lines(path)
        entry_of(entry.line(), "a new entry")
        checked([*(each for each, _ in present), entry], str(path))
        try:
            write(path, present[-1][1] if present else 0, entry.line() + b"\n")
        except OSError as error:
            raise BadClaim(f"the register {path} cannot be written: {error.strerror}.") from error


def write(path: Path, end: int, line: bytes) -> None:
    """Puts a line at `end`, in place of what a crash left there, and waits for the disk."""
    path.touch()
    with path.open("r+b", buffering=0) as file:
        file.seek(max(0, end - 1))
        ended = file.read(1) == b"\n" or end == 0
        file.truncate(end)
        file.seek(end)
        data = line if ended else b"\n" + line
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, "the disk is full")
        os.fsync(file.fileno())
    if os.name == "posix":  # the file's name must be on disk as well
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
