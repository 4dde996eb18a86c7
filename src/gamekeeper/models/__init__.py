"""Models somebody owns, and what their answers may look like."""
