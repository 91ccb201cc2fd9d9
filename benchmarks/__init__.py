"""Figures that a promise rests on, each beside a reference that was measured in the same run."""
