"""gunicorn's thread worker, with an end to its patience; and its logger, without access lines."""

import socket
import struct
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

RECEIVE_TIMEOUT_SECONDS = 5


class ImpatientThreadWorker(ThreadWorker):
    """Gives up a connection that sends nothing for five seconds in the middle of a request.

    gunicorn's own waits for ever, so as many silent connections as there are threads stop the
    service. This does not bound a sender that drips a byte now and then: a proxy in front that
    takes in requests whole does.
    """

    def handle(self, conn: Any) -> Any:
        """Handle a request on ``conn``, whose socket gunicorn has made a blocking one."""
        if not conn.initialized:  # the first request: it holds for those after it
            timeout = struct.pack("ll", RECEIVE_TIMEOUT_SECONDS, 0)  # a struct timeval
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        return super().handle(conn)


class LoggerWithoutAccess(Logger):
    """Writes no access line: with `logconfig_dict`, gunicorn's own makes one whatever is set."""

    def access(self, *_arguments: Any) -> None:
        """Do nothing; making the line alone costs a sixth of a token."""
