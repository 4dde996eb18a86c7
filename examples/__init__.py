"""Programs that the Makefile and the pages run."""
