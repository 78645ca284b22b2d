"""Further measurements, each a section of `RESULTS.md` of its own: `python -m bench --row NAME`."""
