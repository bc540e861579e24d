"""Reports from records only: tables for the terminal and the README, and one HTML page that stands alone."""

from chiploop.report.html import Written, fragment, render
from chiploop.report.results import results_table
from chiploop.report.section import SECTIONS, section
from chiploop.report.table import Table, update_readme

__all__ = ["SECTIONS", "Table", "Written", "fragment", "render", "results_table", "section", "update_readme"]
