"""What the system costs; each module is a measurement that anybody can run: `python -m bench.…`."""
