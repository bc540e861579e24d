"""Experiments as data, and the stages that carry them out."""
