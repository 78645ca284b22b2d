"""Serves the document that describes a service's interface: `GET /openapi.yaml`."""

from pathlib import Path

from flask import Blueprint, Response

OPENAPI_PATH = "/openapi.yaml"
MEDIA_TYPE = "application/yaml"  # RFC 9512 §2.1


def openapi_blueprint(document: Path) -> Blueprint:
    """Return the view of ``document``, which is read once, here."""
    text = document.read_bytes()
    openapi = Blueprint("openapi", __name__)

    @openapi.get(OPENAPI_PATH)
    def read_openapi() -> Response:
        return Response(text, mimetype=MEDIA_TYPE)

    return openapi
