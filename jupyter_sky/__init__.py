"""Jupyter Sky."""
