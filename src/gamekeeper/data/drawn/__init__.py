"""Drawings: inputs made from the names of the classes and from what everybody knows of how a data set looks."""
