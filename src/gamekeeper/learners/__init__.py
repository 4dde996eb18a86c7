"""Learners: how a thief trains a clone on answers already paid for."""
