"""Reports from records only: tables for the terminal and the README, and one HTML page that stands alone."""
