"""Logs of what clients asked: files of any platform in, events out, in bounded memory."""
