"""One of several processes of a server: `python -m tidemill.server.worker SOCKET PARENT [READY]`, each a file descriptor.

SOCKET is that on which it answers; PARENT a pipe that ends with the process that has started this one; into READY it writes
when it answers.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from tidemill import settings
from tidemill.server.serving import open_services, serve, set_up_logging


def main(handles: list[int]) -> None:
    """Answers until it is asked to stop."""
    listening, parent, *ready = handles
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD})
    current = settings.current()
    set_up_logging(current)

    def tell() -> None:
        for handle in ready:
            os.write(handle, b"1")
            os.close(handle)

    serve(socket.socket(fileno=listening), open_services(current), when_ready=tell, parent=parent)


if __name__ == "__main__":
    main([int(handle) for handle in sys.argv[1:]])
