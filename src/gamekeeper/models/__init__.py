"""Models, and the kinds of answers they may give."""
