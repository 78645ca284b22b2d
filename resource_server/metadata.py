"""What a client may know of the bank before it has a token (RFC 9728).

Every challenge names the URL of this document, and the document names the issuer whose tokens
are taken: so a client that knows nothing but the bank's URL finds out where to get one.
"""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from flask import Blueprint, Response, current_app, jsonify, request

from resource_server.settings import ResourceServerSettings

WELL_KNOWN_PATH: Final = "/.well-known/oauth-protected-resource"
MAX_AGE_SECONDS: Final = 300


def resource_metadata(settings: ResourceServerSettings) -> Blueprint:
    """Return the view of the document."""
    views = Blueprint("metadata", __name__)

    @views.get(WELL_KNOWN_PATH + unquote(_path_of(settings.resource)))
    def protected_resource() -> Response:
        """Describe the bank as RFC 9728 §2 has it."""
        answer = jsonify(document(settings, scopes_required()))
        answer.headers["Cache-Control"] = f"public, max-age={MAX_AGE_SECONDS}"
        return answer

    return views


def document(settings: ResourceServerSettings, scopes: list[str]) -> dict[str, Any]:
    """Return the metadata; `resource` is the identifier as it is set, byte for byte (§3.3)."""
    members: dict[str, Any] = {
        "resource": settings.resource,
        "authorization_servers": [settings.issuer],
        "scopes_supported": scopes,
        "bearer_methods_supported": ["header"],  # none in the query or the body
        "resource_name": settings.resource_name,
    }
    if settings.resource_documentation:
        members["resource_documentation"] = settings.resource_documentation
    return members


def scopes_required() -> list[str]:
    """Return the scopes that the routes of the current application ask for."""
    views = current_app.view_functions.values()
    return sorted({view.required_scope for view in views if hasattr(view, "required_scope")})


def url_of_metadata(settings: ResourceServerSettings) -> Callable[[], str]:
    """Return what tells, within a request, the URL of the document (§3.1).

    Its host is the one that was asked, which is a trusted one, as clients inside a network of
    containers know the bank by another name than its identifier. Where a proxy ends TLS it is
    https, whether that proxy says so or not.
    """
    resource = urlsplit(settings.resource)
    suffix = _path_of(settings.resource) + (f"?{resource.query}" if resource.query else "")

    def url() -> str:
        scheme = "https" if settings.transport == "tls-in-front" else request.scheme
        return f"{scheme}://{request.host}{WELL_KNOWN_PATH}{suffix}"

    return url


def _path_of(resource: str) -> str:
    """Return the path that follows the well-known one; a slash alone is none (§3.1)."""
    path = urlsplit(resource).path
    return "" if path == "/" else path
