"""Every error a user can meet, in one tree.

    GamekeeperError
    ├── BadConfig         a target file, an option or a method's parameter makes no sense      exit 4
    ├── UnsafeFile        a file that could run code, or that is not what it claims to be      exit 4
    ├── BadQuery          an input outside the target's domain; nothing was sent or charged    exit 4
    │   └── BadRequest        a request that a server of gamekeeper refuses; nothing was charged   exit 4
    ├── BudgetExceeded    the batch exceeds what is left of the budget; nothing was sent       exit 4
    ├── BadClaim          a claim, register, stamp or statement that is damaged or forged        exit 4
    ├── Denied            a client has no key for this, or their quota is spent; nothing was charged   exit 4
    ├── Busy              a service has too much to do now; nothing was charged                exit 4
    ├── Unsuited          a method needs what this target or this thief does not have          exit 4
    └── Halt              continuing would be pointless, or would lose answers already paid for
        ├── OracleError       the target's answer cannot be used
        │   ├── Unreachable       no answer, after retries                                     exit 5
        │   │   ├── Lost              it was sent, and perhaps charged                         exit 5
        │   │   └── Refused           the server does not answer this request as it is         exit 5
        │   └── Malformed         an answer that is not what was declared                      exit 5
        │       └── Misdeclared       an answer that may be one, but that looks like something else exit 5
        ├── LedgerError       the ledger is damaged, locked or cannot be written               exit 4
        └── JournalError      a service's journal is damaged, locked, full or out of reach     exit 4

A message says what was needed, what came instead, and what to do.
"""


class GamekeeperError(Exception):
    """Any error that gamekeeper raises on purpose."""

    exit_code = 4


class BadConfig(GamekeeperError):
    """A target file, an option or a method's parameter makes no sense."""


class UnsafeFile(GamekeeperError):
    """A file that could run code when loaded, or that is not what it claims to be."""


class BadQuery(GamekeeperError):
    """An input outside the target's domain (shape, range, NaN). Nothing was sent or charged."""


class BadRequest(BadQuery):
    """A request that a server of gamekeeper refuses before anything is charged; `status` is HTTP's word for why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class BudgetExceeded(GamekeeperError):
    """The batch exceeds what is left of the budget. Nothing was sent."""


class BadClaim(GamekeeperError):
    """A claim, register, time stamp or statement that is damaged, altered or not what it claims to be."""


class Denied(GamekeeperError):
    """A client has no valid key, or no quota left for this request. Nothing was charged.

    until  when it is worth trying again, in seconds since 1970; None if nothing changes by waiting
    """

    def __init__(self, message: str, until: float | None = None) -> None:
        super().__init__(message)
        self.until = until


class Busy(GamekeeperError):
    """A service has too much to do to answer in time. Nothing was charged.

    wait  seconds after which it is worth trying again
    """

    def __init__(self, message: str, wait: float = 1.0) -> None:
        super().__init__(message)
        self.wait = wait


class Unsuited(GamekeeperError):
    """A method needs what this target or this thief does not have."""


class Halt(GamekeeperError):
    """The whole run stops: other cells would fail in the same way, or lose answers already paid for."""


class OracleError(Halt):
    """The target's answer cannot be used."""

    exit_code = 5


class Unreachable(OracleError):
    """No answer from the target, after retries."""


class Lost(Unreachable):
    """The request went out and the answer did not come back: the target may have charged for it."""


class Refused(Unreachable):
    """The target refuses this request for what is in it, or fails over it every time. Not charged."""


class Malformed(OracleError):
    """The target answered, but not with what was declared."""


class Misdeclared(Malformed):
    """The first answers could be what was declared, but most likely are something else: the target file is wrong."""


class LedgerError(Halt):
    """The ledger is damaged, locked or cannot be written. No unrecorded answer was passed on."""


class JournalError(Halt):
    """A service's journal is damaged, locked, full or out of reach. Nothing unrecorded was acknowledged."""
