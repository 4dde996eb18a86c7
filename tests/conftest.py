"""One torch thread in every test process, as in the engine's workers; no wall clock in property tests."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("no deadline", deadline=None)  # a loaded machine is no failure
settings.load_profile("no deadline")
