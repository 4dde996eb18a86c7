"""One run at a time in a folder, and no lock outlives its holder."""

import signal
import subprocess
import sys

import pytest

from gamekeeper.engine.lock import claimed
from gamekeeper.errors import BadConfig

HOLDER = """
import sys, time
from pathlib import Path
from gamekeeper.engine.lock import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_claim_is_refused_while_the_first_lives_and_granted_when_it_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BadConfig, match=rf"another run is at work in .* \(process {holder.pid}\)"), claimed(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with claimed(tmp_path):
        pass


def test_a_claim_ends_with_its_block(tmp_path):
    for _ in range(2):
        with claimed(tmp_path), pytest.raises(BadConfig, match="another run"), claimed(tmp_path):
            pass
