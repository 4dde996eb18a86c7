"""Wire formats of prediction APIs, a file each: tensors to bytes and bytes to tensors. No sockets here."""
