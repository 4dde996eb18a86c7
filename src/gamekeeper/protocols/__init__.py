"""Wire formats of prediction APIs, one per file: tensors to bytes and bytes to tensors. No sockets here."""
