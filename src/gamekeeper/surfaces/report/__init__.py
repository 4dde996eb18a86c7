"""The report of a run: page, figures, terminal table, sentences."""
