"""What rows say: flags, summaries, thresholds. Pure functions of results; nothing here runs a theft."""
