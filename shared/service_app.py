"""What the Flask application of each service has around its own views."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Request, Response, abort, request_tearing_down
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface, SessionMixin
from flask.typing import ResponseReturnValue
from opentelemetry.sdk.trace import TracerProvider
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import MapAdapter, Rule

from shared.at_hand import this_request
from shared.gunicorn_worker import (
    keep_what_is_loaded,
    share_what_is_loaded,
    share_what_is_loaded_again,
)
from shared.health import HEALTH_PATHS, Check, health_blueprint
from shared.metrics_listener import gunicorn_hooks
from shared.service_logging import ACCESS_LOG_FORMAT, logging_configuration
from shared.settings import MetricsSettings, ServiceSettings, require_declared_transport
from shared.tracing import trace_requests
from shared.whole_body import LONGEST_BODY_BYTES

WORKER_WITH_THREADS = "shared.gunicorn_worker.ImpatientThreadWorker"
WORKER_WITHOUT = "shared.gunicorn_worker.WholeRequestWorker"
NO_ACCESS_LOG = "shared.gunicorn_worker.LoggerWithoutAccess"

Headers = Sequence[tuple[str, str]]
Hook = TypeVar("Hook")

SECURITY_HEADERS: Headers = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'"),
)
"""What every answer has, unless its view says something else."""

_HOST = re.compile(r"([a-z0-9.-]+|\[[a-f0-9:.]+\])(?::([1-9]\d{0,4}))?", re.ASCII)
_HIGHEST_PORT = 65535


def service_app(
    import_name: str,
    settings: ServiceSettings,
    provider: TracerProvider,
    checks: Mapping[str, Check],
    lives: Mapping[str, Check] | None = None,
    headers_of_paths: Mapping[str, Headers] | None = None,
) -> Flask:
    """Return an application with tracing, health views, host check and security headers.

    ``checks`` and ``lives`` are those of `/readyz` and `/livez`; ``headers_of_paths`` are what all
    answers of a path have besides. Its static folder is off; bodies over 64 KiB get 413.
    """
    app = _PlainFlask(import_name, static_folder=None)
    app.session_interface = _NoSessions()
    app.config["MAX_CONTENT_LENGTH"] = LONGEST_BODY_BYTES
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # else it answers before any token check
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    if settings.proxies:
        hops = settings.proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops
        )
    trace_requests(app, provider)
    app.before_request(_request_check(settings))
    app.wsgi_app = _AnswersWithHeaders(app.wsgi_app, headers_of_paths or {})  # type: ignore[method-assign]
    app.register_blueprint(health_blueprint(checks, lives))
    return app


class _PlainFlask(Flask):
    """Flask without what no service of ours has.

    That is asynchronous views, hosts that decide a view, sessions, and hooks for the views of one
    blueprint: its own looks for them at each call, and at the host three times a request.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._rules: dict[tuple[str, str], Rule] = {}

    def preprocess_request(self) -> ResponseReturnValue | None:
        """Call what is to be called before each view."""
        hooks = self._of_all_views(self.before_request_funcs)
        if hooks is None or self.url_value_preprocessors:
            return super().preprocess_request()
        for hook in hooks:
            answer = hook()
            if answer is not None:
                return cast("ResponseReturnValue", answer)  # none is asynchronous
        return None

    def process_response(self, response: Response) -> Response:
        """Call what is to be called after each view, and after this one."""
        hooks = self._of_all_views(self.after_request_funcs)
        if hooks is None:
            return super().process_response(response)
        for hook in request_ctx._after_request_functions:
            response = cast("Response", hook(response))
        for hook in reversed(hooks):
            response = cast("Response", hook(response))
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Call what is to be called at the end of each request."""
        hooks = self._of_all_views(self.teardown_request_funcs)
        if hooks is None:
            super().do_teardown_request(exc)
            return
        for hook in reversed(hooks):
            hook(exc)
        request_tearing_down.send(self, _async_wrapper=self.ensure_sync, exc=exc)

    def _of_all_views(self, hooks: Mapping[str | None, list[Hook]]) -> list[Hook] | None:
        """Return ``hooks``; None where one is for a blueprint's views alone, as none of ours is."""
        of_all = hooks.get(None, [])
        return of_all if len(hooks) == (None in hooks) else None

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``func``."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what finds the view of ``request`` by its path and method alone."""
        if request is None:
            return super().create_url_adapter(None)
        environ = request.environ
        return _RememberingAdapter(
            self._rules,
            self.url_map,
            environ.get("HTTP_HOST", ""),
            environ.get("SCRIPT_NAME", ""),
            "",  # no subdomain
            environ["wsgi.url_scheme"],
            environ["PATH_INFO"].encode("latin-1").decode(errors="replace"),
            environ["REQUEST_METHOD"],
            environ.get("QUERY_STRING", ""),
        )


class _RememberingAdapter(MapAdapter):
    """Finds a view as werkzeug's own does, and remembers those whose path has no part that varies.

    So there are no more to remember than there are views.
    """

    def __init__(self, rules: dict[tuple[str, str], Rule], *of_the_request: Any) -> None:
        super().__init__(*of_the_request)
        self._rules = rules

    def match(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the rule and the arguments of the view for this path and method."""
        if arguments or keywords != {"return_rule": True}:  # not Flask, which asks for this request
            return super().match(*arguments, **keywords)
        asked = self.path_info, self.default_method
        if asked in self._rules:
            return self._rules[asked], {}
        rule, view_arguments = super().match(return_rule=True)
        if not rule.arguments:
            self._rules[asked] = rule
        return rule, view_arguments


class _NoSessions(SessionInterface):
    """What stands for the session of every request: none of ours has one."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> SessionMixin:  # noqa: ARG002 - Flask's
        """Return the session that nobody can write to."""
        return self._none

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save nothing."""


class _AnswersWithHeaders:
    """WSGI middleware: adds the headers that an answer lacks, to errors too.

    Werkzeug's own way to look for a header and to add one costs ten times as much.
    """

    def __init__(self, application: WSGIApplication, of_paths: Mapping[str, Headers]) -> None:
        self._application = application
        self._of_paths = {
            path: _by_name((*SECURITY_HEADERS, *more)) for path, more in of_paths.items()
        }
        self._of_others = _by_name(SECURITY_HEADERS)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        wanted = self._of_paths.get(environ["PATH_INFO"], self._of_others)

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            lacking = wanted.copy()
            for name, _ in headers:
                lacking.pop(name.lower(), None)
            headers += lacking.values()
            return start_response(status, headers, *error)

        return self._application(environ, start)


def _by_name(headers: Headers) -> dict[str, tuple[str, str]]:
    return {header[0].lower(): header for header in headers}


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
        "when_ready": share_what_is_loaded,
        "on_reload": share_what_is_loaded_again,
        "bind": settings.bind,
        "post_worker_init": post_worker_init,
        "pre_request": lambda _worker, _request: None,  # gunicorn's own asks whether to log it
        "workers": settings.workers,
        "worker_class": WORKER_WITH_THREADS if settings.threads > 1 else WORKER_WITHOUT,
        "threads": settings.threads,
        "graceful_timeout": 30,
        "keepalive": 5,
        **({} if settings.log_requests == "access" else {"logger_class": NO_ACCESS_LOG}),
        "access_log_format": ACCESS_LOG_FORMAT,
        "logconfig_dict": logging_configuration(service, settings.log_level, settings.log_requests),
        # gunicorn trusts loopback to say scheme and path in headers; here only `proxies` does.
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        "forwarded_allow_ips": "*",  # trusted to say nothing, so no address has to be looked up
        # Its control socket lies in the user's home, one for all services; nothing here uses it.
        "control_socket_disable": True,
    }


def _request_check(settings: ServiceSettings) -> Callable[[], None]:
    """Refuse what gunicorn lets through, and no service of ours wants."""
    is_ours = lru_cache(maxsize=64)(partial(is_trusted, settings=settings))

    def refuse_unwanted() -> None:
        request = this_request()
        environ = request.environ
        path = environ["PATH_INFO"]
        # Werkzeug reads `//path` and `path` as `/path`; a proxy's rule, and who looks at the path
        # to write the audit trail, do not.
        if path.startswith("//") or not path.startswith("/"):
            abort(404)
        host = environ.get("HTTP_HOST")
        if host is None and environ["SERVER_PROTOCOL"] != "HTTP/1.0":
            abort(400, "the request has no Host header")  # RFC 9112 §3.2: MUST
        # A host that is not ours would stand in links that we build.
        if path not in HEALTH_PATHS and not is_ours(host or request.host):
            abort(400, "the Host header names none of this service's hosts")

    return refuse_unwanted


def is_trusted(host: str, settings: ServiceSettings) -> bool:
    """Tell whether ``host``, a Host header, names one of the service's hosts; its port is free.

    Werkzeug's own check takes no IPv6 address and, for a name in capitals, says no.
    """
    parts = _HOST.fullmatch(host.lower())
    # What is no host at all would stand in headers; and Werkzeug makes links to nowhere of it.
    if parts is None or int(parts[2] or 0) > _HIGHEST_PORT:
        return False
    name = parts[1]
    return any(
        name == trusted.lower() or (trusted.startswith(".") and name.endswith(trusted.lower()))
        for trusted in settings.trusted_hosts
    )
