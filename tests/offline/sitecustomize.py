"""Refuse every connection to another machine. Python imports this file at its start if its folder is on PYTHONPATH.

conftest.py puts the folder on the path of each lesson's kernel; what the kernel starts inherits it. An audit hook sees
the calls of every socket, whichever class wraps it, and cannot be removed. A refusal is also written to the file that
REFUSED_CONNECTIONS names, so that a lesson which catches the error still turns red.
"""

import os
import sys

CALLS = ("socket.connect", "socket.sendto", "socket.sendmsg")
LOOPBACK = ("localhost", "::1")


def refuse(event, arguments):
    if event not in CALLS:
        return
    address = arguments[1]
    if not isinstance(address, tuple):  # a socket of this machine alone, or one that is connected already
        return
    host, port = str(address[0]), address[1]
    if host.startswith("127.") or host in LOOPBACK:
        return
    file = os.environ.get("REFUSED_CONNECTIONS")
    if file:
        with open(file, "a", encoding="utf-8") as refused:
            refused.write(f"{host} port {port}\n")
    raise ConnectionRefusedError(f"No lesson may connect to {host} port {port}: lessons run without a network.")


sys.addaudithook(refuse)
if os.environ.get("FOUNDRY_DEVICE") == "pretend":
    import pretend  # noqa: F401
