"""Judging readings: truth, measures, and the report of a comparison."""
