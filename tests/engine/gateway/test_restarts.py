"""Whatever happens to a gateway between two requests, answers and memories are those of an undisturbed one, bit for bit."""

from gamekeeper.service.journal.journal import Journal
from tests.engine.gateway.small import Undisturbed, bits, equal, gateway, requests, written


def test_a_gateway_answers_and_remembers_as_the_plain_twin(journal: Journal):
    sent, twin, real = requests(80, seed=0), Undisturbed(), gateway(journal)
    assert equal([real.answer(each) for each in sent], [twin.answer(each) for each in sent])
    assert written(journal) == bits(twin.memories)
