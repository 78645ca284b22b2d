"""What `make up` runs: starts the system, waits for it, and tells the five arrows as they happened.

The tests start their systems with it too.
"""
