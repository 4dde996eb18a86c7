"""The wire: what stands between a client and a victim, and what is kept of it."""
