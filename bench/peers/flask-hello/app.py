"""A Flask view that answers a small POST with a small JSON: what Flask itself costs."""

from typing import Any

from flask import Flask

app = Flask(__name__)


@app.post("/hello")
def hello() -> dict[str, Any]:
    """Return what has the form of a token's answer, and no token."""
    return {"access_token": "x" * 20, "token_type": "Bearer", "expires_in": 300}
