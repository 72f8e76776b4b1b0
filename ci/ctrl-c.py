#!/usr/bin/env python3
"""Ctrl-C at a server that Wine runs on a terminal, with an answer half sent: for ci/windows.sh. It takes the server's file."""

import http.client, os, pty, re, sys

pid, terminal = pty.fork()
if pid == 0:
    os.execvp("wine", ["wine", sys.argv[1]])
output = b""


def more():
    """What Windows prints, without the moves of its cursor; nothing at the end."""
    global output
    try:
        read = os.read(terminal, 4096)
    except OSError:
        read = b""
    output += re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", read)
    return read


while not (listening := re.search(rb"listening on ([0-9.]+:[0-9]+)\r", output)):
    more() or sys.exit(f"it does not listen: {output}")
peer = http.client.HTTPConnection(listening[1].decode(), timeout=20)
peer.request("GET", "/stream/10/100")
answer = peer.getresponse()
answer.read(1)
os.write(terminal, b"\x03")
answer.read()
peer.close()
while more():
    pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(output.decode(errors="replace").strip(), f"(exit status {status})")
sys.exit(status or b"drained" not in output)
