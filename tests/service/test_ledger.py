"""The ledger: nothing paid is lost, nothing is paid twice."""

import signal
import sqlite3
import time
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from gamekeeper.engine.backends import workers
from gamekeeper.errors import LedgerError, Malformed, Misdeclared, Unreachable
from gamekeeper.models.opaque import Raw, RemoteModel
from gamekeeper.service.ledger import Ledger, Recorded
from gamekeeper.tasks import Classify
from gamekeeper.types import Reply


class Counting:
    """An oracle that numbers its answers, so that a repeated question gets another one."""

    def __init__(self, maps: torch.dtype | None = None) -> None:
        self.asked = 0
        self.maps = maps

    def __call__(self, x, /) -> Reply:
        number = torch.arange(self.asked, self.asked + len(x), dtype=torch.float64)
        self.asked += len(x)
        y = torch.stack([1 / (number + 2), 1 - 1 / (number + 2)], 1)
        return Reply(y, torch.rand(len(x), 3, 2, dtype=self.maps) if self.maps else None)


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def inputs(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 4, generator=torch.Generator().manual_seed(seed))


def test_a_rerun_gets_the_same_answers_without_a_charge(ledger):
    oracle, x = Counting(), inputs(300)
    first = Recorded(oracle, ledger, "scope", batch=64)
    answers = first(x).y
    again = Recorded(oracle, ledger, "scope", batch=64)
    assert torch.equal(again(x).y, answers)
    assert answers.dtype == torch.float64
    assert (first.charged, again.charged, oracle.asked) == (300, 0, 300)


def test_answers_come_back_in_the_order_of_the_questions(ledger):
    x = inputs(50)
    answers = Recorded(Counting(), ledger, "scope")(x).y
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert torch.equal(Recorded(Counting(), ledger, "scope")(x[order]).y, answers[order])


def test_asking_again_is_another_answer_and_another_charge(ledger):
    oracle, x = Counting(), inputs(5)
    session = Recorded(oracle, ledger, "scope")
    first, second = session(x).y, session(x).y
    assert not torch.equal(first, second)
    assert session.charged == 10
    rerun = Recorded(oracle, ledger, "scope")
    assert torch.equal(rerun(x).y, first)
    assert torch.equal(rerun(x).y, second)
    assert rerun.charged == 0


def test_an_input_twice_in_one_batch_is_two_questions(ledger):
    x = inputs(1).repeat(3, 1)
    session = Recorded(Counting(), ledger, "scope")
    assert len(session(x).y.unique(dim=0)) == 3
    assert session.charged == 3


def test_scopes_do_not_share_answers(ledger):
    oracle, x = Counting(), inputs(4)
    one, other = Recorded(oracle, ledger, "mad"), Recorded(oracle, ledger, "none")
    assert not torch.equal(one(x).y, other(x).y)
    assert (one.charged, other.charged) == (4, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_attribution_maps_are_kept_with_their_dtype(ledger, dtype):
    x = inputs(7)
    reply = Recorded(Counting(dtype), ledger, "scope")(x)
    again = Recorded(Counting(dtype), ledger, "scope")(x)
    assert reply.maps is not None
    assert again.maps is not None
    assert again.maps.dtype == dtype
    assert torch.equal(again.maps, reply.maps)


def test_maps_of_a_ledger_that_does_not_name_their_dtype_are_float32(ledger):
    x = inputs(2)
    reply = Recorded(Counting(torch.float32), ledger, "scope")(x)
    ledger.db.execute("UPDATE batch SET dtype = 'float64 3x2'")
    again = Recorded(Counting(), ledger, "scope")(x)
    assert reply.maps is not None
    assert again.maps is not None
    assert torch.equal(again.maps, reply.maps)


class Sizes(Counting):
    """Writes down how many inputs came at a time; `wrong` refuses them all."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.wrong = wrong

    def __call__(self, x, /) -> Reply:
        self.sizes.append(len(x))
        if self.wrong:
            raise Malformed("these are logits")
        return super().__call__(x)


def test_the_first_input_of_a_costly_scope_goes_alone(ledger):
    wrong, right, later = Sizes(wrong=True), Sizes(), Sizes()
    with pytest.raises(Malformed):
        Recorded(wrong, ledger, "api", batch=4, costly=True)(inputs(9))
    assert wrong.sizes == [1], "a wrong declaration costs one query"
    Recorded(right, ledger, "api", batch=4, costly=True)(inputs(9))
    assert right.sizes == [1, 4, 4]
    Recorded(later, ledger, "api", batch=4, costly=True)(inputs(9, seed=1))
    assert later.sizes == [4, 4, 1]


def test_what_is_under_way_is_counted_by_scope(ledger):
    for scope, inputs_ in (("thief", 50), ("api", 20)):
        ledger.send(ledger.scope(scope), inputs_)
    Recorded(Counting(), ledger, "api")(inputs(3))
    assert (ledger.unanswered("api"), ledger.unanswered("thief"), ledger.unanswered("nobody")) == (20, 50, 0)
    assert ledger.unanswered() == 70
    assert (ledger.answers("api"), ledger.answers("thief"), ledger.answers()) == (3, 0, 3)


def test_minus_zero_is_zero(ledger):
    session = Recorded(Counting(), ledger, "scope")
    answer = session(torch.zeros(1, 4)).y
    assert torch.equal(Recorded(Counting(), ledger, "scope")(-torch.zeros(1, 4)).y, answer)


def test_batches_before_a_failure_are_kept(ledger):
    class Failing(Counting):
        def __call__(self, x, /) -> Reply:
            if self.asked >= 128:
                raise Unreachable("gone")
            return super().__call__(x)

    x = inputs(300)
    session = Recorded(Failing(), ledger, "scope", batch=64)
    with pytest.raises(Unreachable):
        session(x)
    assert session.charged == ledger.answers() == 128
    rest = Recorded(Counting(), ledger, "scope", batch=64)
    rest(x)
    assert rest.charged == 300 - 128
    assert ledger.unanswered() == 0


def test_good_answers_beside_nan_are_kept_and_the_bad_ones_named(ledger):
    class Sick(Counting):
        def __call__(self, x, /) -> Reply:
            y = super().__call__(x).y
            y[1] = float("nan")
            return Reply(y)

    x = inputs(10)
    with pytest.raises(Malformed, match="1 of 10 answers hold NaN"):
        Recorded(Sick(), ledger, "scope")(x)
    healthy = Recorded(Counting(), ledger, "scope")
    healthy(x)
    assert healthy.charged == 1


def test_wrong_number_of_answers_is_refused(ledger):
    with pytest.raises(Malformed, match="3 answers to 4 inputs"):
        Recorded(lambda x: Reply(torch.full((3, 2), 0.5)), ledger, "scope")(inputs(4))
    assert ledger.answers() == 0


def test_a_full_disk_hands_nothing_on(ledger):
    session = Recorded(Counting(), ledger, "scope", batch=50)
    session(inputs(50))
    pages = ledger.db.execute("PRAGMA page_count").fetchone()[0]
    ledger.db.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(LedgerError, match="disk full"):
        session(inputs(5000, seed=1))
    recorded = ledger.answers()
    ledger.db.execute("PRAGMA max_page_count=1000000")
    rest = Recorded(Counting(), ledger, "scope", batch=50)
    rest(inputs(50))
    rest(inputs(5000, seed=1))
    assert rest.charged == 5050 - recorded


def test_a_damaged_file_is_an_error_and_stays_as_it_is(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    Recorded(Counting(), ledger, "scope")(inputs(2000))
    ledger.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    damaged = bytearray(path.read_bytes())
    damaged[8192 : 8192 + 2048] = b"\xff" * 2048
    path.write_bytes(damaged)
    with closing(Ledger(path)) as ledger, pytest.raises(LedgerError, match="damaged"):
        ledger.check()
    assert path.read_bytes() == damaged


def test_a_flipped_bit_in_an_answer_is_found(ledger):
    x = inputs(3)
    Recorded(Counting(), ledger, "scope")(x)
    ((y, hashed),) = ledger.db.execute("SELECT y, input FROM answer LIMIT 1").fetchall()
    ledger.db.execute("UPDATE answer SET y = ? WHERE input = ?", (bytes([y[0] ^ 1]) + y[1:], hashed))
    with pytest.raises(LedgerError, match="checksum"):
        Recorded(Counting(), ledger, "scope")(x)


def test_a_file_that_is_not_a_ledger_is_refused(tmp_path):
    text = tmp_path / "text.sqlite"
    text.write_text("this is no database, but it is long enough to be read as a header of one" * 20)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(text)
    is_import_path = sqlite3.connect(tmp_path / "foreign.sqlite")
    is_import_path.execute("CREATE TABLE t (a)")
    is_import_path.close()
    with pytest.raises(LedgerError, match="another program"):
        Ledger(tmp_path / "foreign.sqlite")


PROCESSES = workers()


def write(path: Path, batches: int, done: Connection) -> None:
    """A process that asks batch after batch and says of each that it has the answer."""
    session = Recorded(lambda x: Reply(torch.full((len(x), 2), 0.5)), Ledger(path), "scope", batch=8)
    for number in range(batches):
        session(torch.arange(number * 8, number * 8 + 8, dtype=torch.float32)[:, None])
        done.send(number)


def writer(path: Path, batches: int) -> tuple[BaseProcess, Connection]:
    said, done = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=write, args=(path, batches, done))
    process.start()
    done.close()
    return process, said


def everything(said: Connection) -> list[int]:
    """What a process said until it ended or was killed."""
    found: list[int] = []
    with suppress(EOFError, OSError):
        while True:
            found.append(said.recv())
    return found


def test_kill_minus_nine_loses_no_answer_that_was_handed_on(tmp_path):
    path = tmp_path / "ledger.sqlite"
    for wait in (0.0, 0.03, 0.11):
        process, said = writer(path, 100_000)
        assert said.recv() == 0
        time.sleep(wait)
        process.kill()
        handed_on = everything(said)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        ledger = Ledger(path)
        ledger.check()
        session = Recorded(Counting(), ledger, "scope")
        last = max(handed_on, default=0)
        session(torch.arange(last * 8 + 8, dtype=torch.float32)[:, None])
        assert session.charged == 0, "an answer that was handed on is not in the ledger"
        assert ledger.unanswered() <= 8 * 3
        ledger.close()


def test_two_workers_buy_an_answer_once(tmp_path):
    path = tmp_path / "ledger.sqlite"
    both = [writer(path, 40) for _ in range(2)]
    assert [everything(said) for _, said in both] == [list(range(40))] * 2
    for process, _ in both:
        process.join()
        assert process.exitcode == 0
    ledger = Ledger(path)
    with closing(ledger):
        sent = ledger.db.execute("SELECT sum(inputs) FROM batch").fetchone()[0]
        assert sent == ledger.answers() == 320


class Sigmoids:
    """An API of three scores that are independent of each other."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, x, names=None, /) -> Raw:
        self.sizes.append(len(x))
        return Raw(x[:, :3].sqrt())


@pytest.mark.parametrize(("batch", "sizes"), [(64, [1, 8]), (5, [1, 5]), (1, [1] * 6)])
def test_sigmoids_declared_logits_are_refused_before_a_batch_is_paid(ledger, batch: int, sizes: list[int]):
    api = Sigmoids()
    model = RemoteModel(api, Classify(3), "logits")
    session = Recorded(model, ledger, "scope", batch, costly=True, unanswered="asked again")
    with pytest.raises(Misdeclared, match="after a sigmoid"):
        session(inputs(200))
    assert api.sizes == sizes
