"""Owns the HTML report: one file without network or script, drawn by pure functions from a run."""
