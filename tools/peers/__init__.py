"""Other people's servers and clients, each in an environment of its own, for `tools/gateway_peers.py`."""
