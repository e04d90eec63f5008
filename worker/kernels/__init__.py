"""Compiled arithmetic that computes the same bits as docTR and Pillow."""
