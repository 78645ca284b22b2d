"""What stands in the READMEs, for tests that do what they say."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def json_blocks(service: str) -> list[dict[str, Any]]:
    """Return the JSON objects that the README of ``service`` shows."""
    readme = (ROOT / service / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    return [block for block in map(json.loads, blocks) if isinstance(block, dict)]
