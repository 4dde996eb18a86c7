"""The gateway without sockets: from who asks what to the answer they get, everything written down first."""
