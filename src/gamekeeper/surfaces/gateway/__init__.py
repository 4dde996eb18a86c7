"""The gateway's server: sockets, keys, limits of time and number, metrics and logs round a function from request to reply."""
