"""gunicorn's thread worker, with an end to its patience; its logger, without access lines."""

import gc
import socket
import struct
from concurrent.futures import Future
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import _DEFER, ThreadWorker

RECEIVE_TIMEOUT_SECONDS = 5


class ImpatientThreadWorker(ThreadWorker):
    """Gives up a connection that sends nothing for five seconds in the middle of a request.

    gunicorn's own waits for ever, so as many silent connections as there are threads stop the
    service. This does not bound a sender that drips a byte now and then: a proxy in front that
    takes in requests whole does.
    """

    def enqueue_req(self, conn: Any) -> None:
        """Have the request on ``conn`` handled: by a thread of the pool; or here, if that is one.

        Handing it over and back costs a tenth of a token, and makes the slowest wait longest.
        """
        if self.cfg.threads > 1:
            super().enqueue_req(conn)
            return
        is_here = conn.initialized or conn.data_ready
        handled: Future[object] = Future()
        handled.set_result(self.handle(conn) if is_here else _DEFER)  # else it waits, and we do not
        self.finish_request(conn, handled)

    def handle(self, conn: Any) -> Any:
        """Handle a request on ``conn``, whose socket gunicorn has made a blocking one."""
        if not conn.initialized:  # the first request: it holds for those after it
            timeout = struct.pack("ll", RECEIVE_TIMEOUT_SECONDS, 0)  # a struct timeval
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        return super().handle(conn)


def keep_what_is_loaded() -> None:
    """Let no collection of garbage look again at what a worker has loaded, which takes 50 ms."""
    gc.collect()
    gc.freeze()


class LoggerWithoutAccess(Logger):
    """Writes no access line: with `logconfig_dict`, gunicorn's own makes one whatever is set."""

    def access(self, *_arguments: Any) -> None:
        """Do nothing; making the line alone costs a sixth of a token."""
