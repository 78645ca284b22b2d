"""What the Flask application of each service has around its own views."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, abort, request
from opentelemetry.sdk.trace import TracerProvider
from werkzeug.middleware.proxy_fix import ProxyFix

from shared.gunicorn_worker import keep_what_is_loaded
from shared.health import HEALTH_PATHS, Check, health_blueprint
from shared.metrics_listener import gunicorn_hooks
from shared.service_logging import ACCESS_LOG_FORMAT, logging_configuration
from shared.settings import MetricsSettings, ServiceSettings, require_declared_transport
from shared.tracing import trace_requests

NO_ACCESS_LOG = "shared.gunicorn_worker.LoggerWithoutAccess"

LONGEST_BODY_BYTES = 64 * 1024

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'",
}
"""What every answer has, unless its view says something else."""

_PORT = re.compile(r":\d{1,5}$")


def service_app(
    import_name: str,
    settings: ServiceSettings,
    provider: TracerProvider,
    checks: Mapping[str, Check],
    lives: Mapping[str, Check] | None = None,
) -> Flask:
    """Return an application with tracing, health views, host check and security headers.

    ``checks`` and ``lives`` are those of `/readyz` and `/livez`. Its static folder is off; bodies
    over 64 KiB get 413.
    """
    app = _SynchronousFlask(import_name, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY_BYTES
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # else it answers before any token check
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    if settings.proxies:
        hops = settings.proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops
        )
    trace_requests(app, provider)
    app.before_request(_refuse_leading_slashes)
    app.before_request(_host_check(settings))
    app.after_request(_security_headers)
    app.register_blueprint(health_blueprint(checks, lives))
    return app


class _SynchronousFlask(Flask):
    """Flask that knows no view of ours to be asynchronous.

    Its own looks at each function again before each call, a dozen of them in a request.
    """

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``func``."""
        return func


def gunicorn_settings(service: str, settings: ServiceSettings) -> dict[str, Any]:
    """Return what `gunicorn.conf.py` sets; the service stops here where its transport is open.

    Raises SystemExit with the setting's name.
    """
    require_declared_transport(settings)

    metrics = gunicorn_hooks(service, settings) if isinstance(settings, MetricsSettings) else {}

    def on_starting(server: Any) -> None:
        say = server.log.warning if settings.transport == "plain-http" else server.log.info
        say("the transport of %s is %s", service, settings.transport)
        if "on_starting" in metrics:
            metrics["on_starting"](server)

    def post_worker_init(worker: Any) -> None:
        keep_what_is_loaded()
        if "post_worker_init" in metrics:
            metrics["post_worker_init"](worker)

    return {
        **metrics,
        "on_starting": on_starting,
        "bind": settings.bind,
        "post_worker_init": post_worker_init,
        "workers": settings.workers,
        "worker_class": "shared.gunicorn_worker.ImpatientThreadWorker",
        "threads": settings.threads,
        "graceful_timeout": 30,
        "keepalive": 5,
        **({} if settings.log_requests == "access" else {"logger_class": NO_ACCESS_LOG}),
        "access_log_format": ACCESS_LOG_FORMAT,
        "logconfig_dict": logging_configuration(service, settings.log_level, settings.log_requests),
        # gunicorn trusts loopback to say scheme and path in headers; here only `proxies` does.
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        # Its control socket lies in the user's home, one for all services; nothing here uses it.
        "control_socket_disable": True,
    }


def _refuse_leading_slashes() -> None:
    """Answer 404 for `//account`: Werkzeug reads it as `/account`, a rule of a proxy may not."""
    if request.environ["PATH_INFO"].startswith("//"):
        abort(404)


def _host_check(settings: ServiceSettings) -> Callable[[], None]:
    """Refuse requests for a host that is not ours: its name would stand in links we build."""

    def refuse_other_hosts() -> None:
        if request.environ["SERVER_PROTOCOL"] != "HTTP/1.0" and "Host" not in request.headers:
            abort(400, "the request has no Host header")  # RFC 9112 §3.2: MUST
        if request.path not in HEALTH_PATHS and not is_trusted(request.host, settings):
            abort(400, "the Host header names none of this service's hosts")

    return refuse_other_hosts


def is_trusted(host: str, settings: ServiceSettings) -> bool:
    """Tell whether ``host``, a Host header, names one of the service's hosts; its port is free.

    Werkzeug's own check takes no IPv6 address and, for a name in capitals, says no.
    """
    name = _PORT.sub("", host).lower()
    return any(
        name == trusted.lower() or (trusted.startswith(".") and name.endswith(trusted.lower()))
        for trusted in settings.trusted_hosts
    )


def _security_headers(response: Response) -> Response:
    present = set(response.headers.keys(lower=True))
    for name, value in SECURITY_HEADERS.items():
        if name.lower() not in present:
            response.headers.add(name, value)
    return response
