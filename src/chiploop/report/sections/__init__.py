"""Report sections, one a file; each registers itself."""
