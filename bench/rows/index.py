"""The rows that there are, by their names."""

from collections.abc import Callable, Mapping
from pathlib import Path

from bench.machine import Cores
from bench.plan import Plan
from bench.rows import (
    api,
    authentication,
    client,
    clients,
    databases,
    half,
    reconciliation,
    soak,
    workers,
)

Row = Callable[[Plan, Cores, Path], str]
"""Measures, writes its section into a folder, and returns it."""

ROWS: Mapping[str, Row] = {
    "api": api.measure,
    "half": half.measure,
    "clients": clients.measure,
    "workers": workers.measure,
    "databases": databases.measure,
    "authentication": authentication.measure,
    "soak": soak.measure,
    "reconciliation": reconciliation.measure,
    "client": client.measure,
}
