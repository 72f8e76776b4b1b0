"""Starts nginx, HAProxy or Caddy in front of the server at ORIGIN, in place of this process.

They are told to stop as their documentation says: nginx by SIGQUIT, HAProxy by SIGUSR1, Caddy by
SIGTERM, each with its own limit set to the grace period.

Run with: ORIGIN=127.0.0.1:8081 python proxy.py nginx
"""

import os
import random
import select
import shutil
import socket
import sys
import tempfile
import time

NGINX = """
daemon off;
user root;
worker_processes 1;
pid {directory}/pid;
error_log stderr crit;
worker_shutdown_timeout {grace}ms;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {directory};
    proxy_temp_path {directory};
    fastcgi_temp_path {directory};
    uwsgi_temp_path {directory};
    scgi_temp_path {directory};
    keepalive_timeout {idle}ms;
    upstream origin {{ server {origin}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{http2};
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
        }}
    }}
}}
"""
HAPROXY = """
global
    hard-stop-after {grace}ms
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
    timeout http-keep-alive {idle}ms
    # What its documentation has for a stop that loses nothing.
    option idle-close-on-response
frontend all
    bind 127.0.0.1:{port} backlog 4096
    default_backend origin
backend origin
    server origin {origin}
"""
CADDY = """
{{
    admin off
    auto_https off
    persist_config off
    grace_period {grace}ms
    log {{
        level ERROR
    }}
    servers {{
        protocols h1 h2c
        timeouts {{
            idle {idle}ms
        }}
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy {origin} {{
        flush_interval -1
    }}
}}
"""
PROXIES = {
    "nginx": (NGINX, ["nginx", "-e", "stderr", "-c"]),
    "haproxy": (HAPROXY, ["haproxy", "-db", "-q", "-f"]),
    "caddy": (CADDY, ["caddy", "run", "--adapter", "caddyfile", "--config"]),
}


def free_port():
    """Below those that the system gives to clients, so that none of them takes it first."""
    while True:
        port = random.randrange(20000, 32000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return port
        except OSError:
            continue


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            # nginx speaks one protocol a port: as an answer, the end of the connection will do.
            connection.sendall(b"GET / HTTP/1.1\r\nhost: peer\r\nconnection: close\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


name = sys.argv[1]
template, command = PROXIES[name]
directory, port = tempfile.mkdtemp(prefix="peer-"), free_port()
http2 = " http2" if os.environ.get("PROTOCOL") == "h2" else ""
config = os.path.join(directory, "config")
with open(config, "w", encoding="ascii") as file:
    file.write(
        template.format(
            directory=directory,
            port=port,
            http2=http2,
            origin=os.environ["ORIGIN"],
            grace=os.environ.get("GRACE_MS", "15000"),
            idle=os.environ.get("IDLE_MS", "75000"),
        )
    )

# A grandchild, so that the proxy has no child that it doesn't know: it says when the proxy answers,
# and removes the directory when the proxy has gone.
proxy = os.getpid()
child = os.fork()
if child == 0:
    if os.fork() == 0:
        # None of the three tells when it accepts.
        while not answers(port) and os.path.exists(f"/proc/{proxy}"):
            time.sleep(0.01)
        print(f"listening on 127.0.0.1:{port}", flush=True)
        # Whoever started the proxy waits for the end of what it says.
        os.close(1)
        os.close(2)
        select.select([os.pidfd_open(proxy)], [], [])
        shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)
os.waitpid(child, 0)
os.environ["XDG_DATA_HOME"] = os.environ["XDG_CONFIG_HOME"] = directory
os.execvp(command[0], [*command, config])
