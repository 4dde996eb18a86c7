"""The wire between a client and a victim: service, meter, ledger and what is remembered of clients."""
