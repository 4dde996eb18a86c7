"""A gateway before a toy model in a process of its own: `python -m tests.surfaces.gateway.stand_in PORT POLICY SECONDS`.

An answer takes SECONDS. SIGHUP reads the file POLICY, which must hold a whole number; the number is the id of the answer's
first class. It prints the key, and at the end whether every request was answered.
"""

import os
import sys
import time
from pathlib import Path

import torch

from gamekeeper.engine.gateway.request import Request
from gamekeeper.errors import BadConfig
from gamekeeper.protocols.addresses import Addresses
from gamekeeper.service.journal.in_process import InProcessJournal
from gamekeeper.service.principals import Principals, Pseudonyms
from gamekeeper.surfaces.gateway.app import application
from gamekeeper.surfaces.gateway.running import run
from gamekeeper.surfaces.gateway.settings import ServerSettings
from gamekeeper.types import Reply
from tests.surfaces.gateway.live import LIMITS, SERVED


def main() -> None:
    port, policy, seconds = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    rules = [0]

    def reload() -> None:
        text = policy.read_text()
        if not text.strip().isdecimal():
            raise BadConfig(f"{policy.name} must hold a number")
        rules[0] = int(text)

    def answer(request: Request) -> Reply:
        time.sleep(seconds)
        y = torch.zeros((len(request.x), 3))
        y[:, rules[0]] = 1
        return Reply(y)

    principals = Principals(InProcessJournal(), Pseudonyms(bytes(32)))
    settings = ServerSettings(port=port, notice=0.3, drain=5.0)
    app = application(answer, Addresses(SERVED, LIMITS), principals, settings)
    print(principals.issue("acme", "alice", time.time()), flush=True)
    whole = run(app, settings, reload, lambda: print("drained", flush=True))
    print(whole, flush=True)
    if not whole:
        os._exit(3)


if __name__ == "__main__":
    main()
