"""gunicorn's thread worker, with an end to its patience; and one that does without its threads.

A connection is new until something has come on it, then handled, then kept alive, and handled
again. gunicorn's worker waits for new and kept ones together (its poller), and hands each on which
something comes to a thread. The second worker here hands over only those whose request is not all
there. It speaks plain HTTP/1.1. `service_app.gunicorn_settings` chooses a worker and its hooks.
"""

import errno
import gc
import re
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, ClassVar

from gunicorn.glogging import Logger
from gunicorn.http import message, wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import NoMoreData
from gunicorn.http.parser import RequestParser
from gunicorn.util import http_date, write
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from shared.gunicorn_request import RequestOfUsualLines

PATIENCE_SECONDS = 5
"""How long a thread waits for the next byte of a request, or for room for the next of an answer."""
WAITING_THREADS = 4
"""How many wait for the rest of a request, where none is for handling it."""
ENDING_THREADS = 16
"""How many wait until an answer is taken or a connection closed."""
LONGEST_ENDING_SECONDS = 30
"""How long one of them waits for an answer to be taken."""
NOTICE_SECONDS = 1
"""How often a worker without threads tells gunicorn's master that it lives."""
LONGEST_WHOLE_REQUEST = 16 * 1024
"""How many bytes are read to see whether a request is all there; a longer one goes to a thread."""
MOST_HEADERS_REMEMBERED = 64
"""How many headers of answers a worker knows to be good; most are the same in each."""

is_invalid_in_a_header = re.compile(r"(?![\t\x20-\x7e\x80-\xff]*\Z)").match
"""Finds whether a value has what none may have (RFC 9110 §5.5), where it was read as Latin-1."""

_http_date = lru_cache(maxsize=2)(http_date)
_HEAD_ENDS = b"\r\n\r\n"
_MOST_DIGITS = 9
_BODY_FOLLOWS = re.compile(rb"\r\n(?:content-length:[ \t]*(\d+)|transfer-encoding:)", re.IGNORECASE)


class AnswerInOnePiece(wsgi.Response):
    """Sends the head together with the first piece of the body, which of ours is all of it."""

    headers_sent: bool
    headers: list[tuple[str, str]]
    _head = b""
    _closes: bool | None = None
    _judged_before: ClassVar[set[tuple[str, str]]] = set()

    def process_headers(self, headers: Iterable[tuple[str, str]]) -> None:
        """Judge headers as gunicorn's own does; those that come again are judged once."""
        kept, judged_before = self.headers, self._judged_before
        for header in headers:
            if header in judged_before:
                kept.append(header)
                continue
            super().process_headers([header])
            is_kept_as_it_is = kept[-1:] == [header]
            tells_the_length = header[0].lower() == "content-length"
            has_room = len(judged_before) < MOST_HEADERS_REMEMBERED
            if is_kept_as_it_is and has_room and not tells_the_length:
                judged_before.add(header)

    def should_close(self) -> bool:
        """Tell whether the connection ends with this answer; what the head has said stands."""
        return bool(super().should_close()) if self._closes is None else self._closes

    def send_headers(self) -> None:
        """Make the head, and keep it until there is a body, or none comes."""
        if self.headers_sent:
            return
        major, minor = self.req.version
        self._closes = self.should_close()
        lines = [
            f"HTTP/{major}.{minor} {self.status}",
            f"Server: {self.version}",
            f"Date: {_http_date(int(time.time()))}",
            f"Connection: {'close' if self._closes else 'keep-alive'}",
            *[f"{name}: {text}" for name, text in self.headers],
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        self._head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        self._send_with_head(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def can_sendfile(self) -> bool:
        """Tell that a file is sent like any other body."""
        return False

    def close(self) -> None:
        """End the answer."""
        self.send_headers()
        self._send_with_head(b"0\r\n\r\n" if self.chunked else b"")

    def _send_with_head(self, data: bytes) -> None:
        data, self._head = self._head + data, b""
        if data:
            self.send(data)

    def send(self, data: bytes) -> None:
        """Send ``data``, and wait until the peer has taken it."""
        write(self.sock, data)


class AnswerWithoutWaiting(AnswerInOnePiece):
    """Keeps what the peer does not take at once with the request's reader, as `unsent`."""

    def send(self, data: bytes) -> None:
        """Send what the peer takes of ``data`` now."""
        reader = self.req.unreader
        if before := _unsent_of(reader):  # an answer in many pieces waits here, and piles up none
            reader.unsent = b""
            write(self.sock, before + data)
        elif rest := data[_sent_at_once(self.sock, data) :]:
            reader.unsent = rest


class ImpatientThreadWorker(ThreadWorker):
    """Gives up a connection on which nothing moves for five seconds in the middle of a request.

    gunicorn's own waits for ever, so as many silent connections as there are threads stop the
    service. This does not bound a sender that drips a byte now and then: a proxy in front that
    takes in requests whole does.
    """

    answers: type[AnswerInOnePiece] = AnswerInOnePiece

    def init_process(self) -> None:
        """Begin, in the process that was forked."""
        wsgi.Response = self.answers  # where gunicorn looks for it; there is no setting
        RequestParser.mesg_class = RequestOfUsualLines  # the same
        _look_up_once(self.cfg)
        # What `wsgi.errors` is was made anew for each request, of the same settings.
        wsgi.WSGIErrorsWrapper = lru_cache(maxsize=1)(wsgi.WSGIErrorsWrapper)
        # The same: to match what is valid takes half as long as to search for what is not.
        message.RFC9110_5_5_INVALID_AND_DANGEROUS = SimpleNamespace(search=is_invalid_in_a_header)
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """Have a request on ``conn`` handled; its socket will be a blocking one then."""
        if _is_new(conn):  # what is set now holds for all its requests
            patience = struct.pack("ll", PATIENCE_SECONDS, 0)  # a struct timeval
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        self.hand_over(conn)

    def hand_over(self, conn: Any) -> None:
        """Hand ``conn`` to a thread."""
        super().enqueue_req(conn)


class WholeRequestWorker(ImpatientThreadWorker):
    """Handles a request that has arrived whole at once; threads wait for the rest of any other.

    For a service whose requests compute, and wait for nothing: to hand each to a thread and back
    costs as much as a third of Flask, and threads that take turns at one processor make the
    slowest answer three times as slow. Who is slow to send, to take an answer or to close holds up
    nobody here; threads of their own wait for the last two.
    """

    answers = AnswerWithoutWaiting
    _next_notice = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse TLS at the start: what is read here without waiting would be its records."""
        super().check_config(cfg, log)
        if cfg.is_ssl:
            sys.exit("a worker without threads speaks no TLS: have a proxy end it")

    def get_thread_pool(self) -> Any:
        """Return the threads that wait for requests, whatever gunicorn's `threads` says.

        Those for the ends of answers and connections are made as well.
        """
        self._ending = ThreadPoolExecutor(ENDING_THREADS)
        return ThreadPoolExecutor(WAITING_THREADS)

    def hand_over(self, conn: Any) -> None:
        """Handle a request on ``conn``, which is not in the poller, or hand it to a thread."""
        # To the poller, where it is new, as gunicorn's own does with one on which nothing came.
        if _is_new(conn) and self.alive:  # a worker that stops puts nothing there
            self.finish_request(conn, _done(_DEFER))
        elif not _has_whole_request(conn):
            super().hand_over(conn)
        else:
            self._finish(conn, self._handle_here(conn))

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Handle a request on ``conn``, which is in the poller, and stays there if it can."""
        if not _has_whole_request(conn):
            super().on_client_socket_readable(conn, client)
            return
        stays = self._handle_here(conn)
        self.keepalived_conns.remove(conn)
        if stays and not _read_ahead(conn) and not _unsent(conn):
            conn.set_timeout()
            self.keepalived_conns.append(conn)
        else:
            self.poller.unregister(client)
            self._finish(conn, stays)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close connections that were idle for too long."""
        if not force:
            self._spare_who_has_sent(self.keepalived_conns)
        super().murder_keepalived(force)

    def murder_pending(self) -> None:
        """Close new connections on which nothing has come for too long."""
        self._spare_who_has_sent(self.pending_conns)
        super().murder_pending()

    def _spare_who_has_sent(self, connections: deque[Any]) -> None:
        """Give time to those on which something has come while this process handled others."""
        if not connections or connections[0].timeout > time.monotonic():
            return
        readable = {key.fileobj for key, _ in self.poller.select(0)}
        for conn in [conn for conn in connections if conn.sock in readable]:
            connections.remove(conn)
            conn.set_timeout()
            connections.append(conn)  # in the order of their ends

    def handle(self, conn: Any) -> Any:
        """Handle a request on ``conn`` in a thread, which waits until the answer is taken."""
        stays = super().handle(conn)
        return _send_the_rest(conn, stays) if _unsent(conn) else stays

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Do with ``conn`` what the future says; a thread closes it, as that waits for the peer."""
        if not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
        else:
            closed = self._ending.submit(conn.close, graceful=True)
            closed.add_done_callback(lambda _: self.method_queue.defer(self._forget_one))

    def _forget_one(self) -> None:
        self.nr_conns -= 1

    def _handle_here(self, conn: Any) -> Any:
        """Handle a request as gunicorn's own does; tell the master now and then that we live.

        gunicorn's loop tells it once for all the requests that it found, however long they take.
        And before each it asks whether the request is one of HTTP/2, and sets the socket, which
        waits already unless it comes from a thread.
        """
        now = time.monotonic()
        if now >= self._next_notice:
            self._next_notice = now + NOTICE_SECONDS
            self.notify()
        req = None
        try:
            if not conn.sock.getblocking():
                conn.sock.setblocking(True)
            req = next(conn.parser)
            return bool(req) and self._keepalive_after(conn, self.handle_request(req, conn))
        except (NoMoreData, StopIteration) as error:
            self.log.debug("the peer closed a connection: %s", error)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                self.log.exception("a connection failed while its request was handled")
        except Exception as error:  # noqa: BLE001 - whatever it is, it has an answer
            self.handle_error(req, conn.sock, conn.client, error)
        return False

    def _finish(self, conn: Any, stays: bool) -> None:
        if _unsent(conn):
            sent = self._ending.submit(_send_the_rest, conn, stays)
            sent.add_done_callback(
                lambda result: self.method_queue.defer(self.finish_request, conn, result)
            )
        elif stays and _read_ahead(conn):  # not from here: so many requests may be there
            self.method_queue.defer(self.enqueue_req, conn)
        else:
            self.finish_request(conn, _done(stays))

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Tell whether the connection stays; gunicorn's own looks for a rest of the body."""
        reader = conn.parser.mesg.body.reader
        if not (keepalive and isinstance(reader, LengthReader) and reader.length == 0):
            return bool(super()._keepalive_after(conn, keepalive))
        conn.parser.mesg = None  # else it looks once more before the next request
        return True


def _look_up_once(cfg: Any) -> None:
    """Make each setting of gunicorn's a plain attribute.

    They are asked for thirty times a request, and each time gunicorn looks where they are. They
    do not change in a worker: who loads them again is the master, for new workers.
    """
    vars(cfg).update({name: setting.get() for name, setting in cfg.settings.items()})


def _is_new(conn: Any) -> bool:
    """Tell whether ``conn`` has just been accepted, and nothing is known to have come on it."""
    return not (conn.initialized or conn.data_ready)


def _has_whole_request(conn: Any) -> bool:
    """Read what there is on ``conn``, and tell whether it is a whole request.

    It guesses: whatever it says, gunicorn's parser reads the same bytes and judges them.
    """
    conn.init()
    unreader = conn.parser.unreader
    data = unreader.buf.getvalue()
    if not data:
        try:
            data = conn.sock.recv(LONGEST_WHOLE_REQUEST, socket.MSG_DONTWAIT)
        except OSError:  # the parser meets it again
            return False
        if not data:
            return True  # the peer has closed: the parser sees it at once
        unreader.unread(data)
    head, end, body = data.partition(_HEAD_ENDS)
    if not end:
        return False
    follows = _BODY_FOLLOWS.search(head)
    if follows is None:
        return True
    length = follows[1] or b""
    return 0 < len(length) <= _MOST_DIGITS and len(body) >= int(length)


def _read_ahead(conn: Any) -> bytes:
    """Return what was read of the next request already."""
    data: bytes = conn.parser.unreader.buf.getvalue()
    return data


def _sent_at_once(sock: socket.socket, data: bytes) -> int:
    """Send as much of ``data`` as the peer's window and the kernel take, and return how much."""
    try:
        return sock.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0


def _unsent(conn: Any) -> bytes:
    """Return what is left of the answer on ``conn``."""
    return _unsent_of(conn.parser.unreader) if conn.parser else b""


def _unsent_of(unreader: Any) -> bytes:
    unsent: bytes = getattr(unreader, "unsent", b"")
    return unsent


def _send_the_rest(conn: Any, stays: bool) -> bool:
    """Send what is left of an answer; tell whether ``conn`` stays, which one that fails does not.

    The time is for all of it together, so that taking a byte now and then makes it no longer.
    """
    unsent, conn.parser.unreader.unsent = _unsent(conn), b""
    try:
        conn.sock.settimeout(LONGEST_ENDING_SECONDS)
        conn.sock.sendall(unsent)
        conn.sock.setblocking(True)
    except OSError:
        return False
    return stays


def _done(result: object) -> Future[object]:
    done: Future[object] = Future()
    done.set_result(result)
    return done


def share_what_is_loaded(_server: object) -> None:
    """Let no collection of garbage look at what the master has loaded and its workers share.

    One that did would write to it, and what a worker writes to is no longer shared. Nor is garbage
    collected before: `gunicorn.conf.py` puts it off, until here. It takes a tenth of the start, and
    finds a thousand small objects.
    """
    gc.freeze()
    gc.enable()


def share_what_is_loaded_again(server: object) -> None:
    """Do so after a reload, whose workers are not forked yet; what it replaced goes first."""
    gc.collect()
    share_what_is_loaded(server)


def keep_what_is_loaded() -> None:
    """Let no collection of garbage look again at what a worker has made at its start."""
    gc.collect()
    gc.freeze()


class LoggerWithoutAccess(Logger):
    """Writes no access line: with `logconfig_dict`, gunicorn's own makes one whatever is set."""

    def access(self, *_arguments: Any) -> None:
        """Do nothing; making the line alone costs a sixth of a token."""
