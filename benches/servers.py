"""The other end: nginx on loopback, the files it serves, and a certificate authority of our own.

Knows nothing of the tools. Everything lives below the directory it is given; nginx is stopped by its process id.
"""

import hashlib
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

SYSTEM_BUNDLES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"]
PIECE = 1 << 20  # bytes: large files are written, and differ from each other, piece by piece
SMALL = 1024  # bytes of a small body
NOTE = (hashlib.sha256(b"fetchmany").hexdigest() * 16)[:SMALL].encode()  # the body of every /n/ address

NGINX = """
{modules}
{user}
daemon off;
pid {work}/nginx.pid;
error_log {work}/nginx.err warn;
worker_processes 2;
worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path {work}/nginx.tmp;
    proxy_temp_path {work}/nginx.tmp;
    fastcgi_temp_path {work}/nginx.tmp;
    uwsgi_temp_path {work}/nginx.tmp;
    scgi_temp_path {work}/nginx.tmp;
    server {{
        listen 127.0.0.1:{http};
        root {files};
        location /n/ {{ return 200 "{note}"; }}
    }}
    # Every address of 127.0.0.0/8 is a host.
    server {{
        listen 0.0.0.0:{hosts} backlog=16384;
        location /n/ {{ return 200 "{note}"; }}
    }}
    # Every request pays for a whole handshake: no keep-alive, no session to resume.
    server {{
        listen 127.0.0.1:{https} ssl;
        root {files};
        keepalive_timeout 0;
        ssl_certificate {work}/leaf.pem;
        ssl_certificate_key {work}/leaf.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
    }}
    {places}
    server {{
        listen 127.0.0.1:{status};
        location / {{ stub_status; }}
    }}
}}
"""

# Servers that differ in what they bear; they need nginx's echo module.
PLACES = """
    log_format served '$msec $status';
    limit_conn_zone $server_addr zone=crowded:1m;
    limit_conn_zone $server_addr zone=closed:1m;
    server {{
        listen 127.0.0.1:{port} backlog=16384;
        access_log {work}/places.log served buffer=64k flush=1s;
        location /n/ {{ return 200 "{note}"; }}
        location /slow/ {{ echo_sleep 2; echo -n "{note}"; }}
        location /crowded/ {{ limit_conn crowded 20; limit_conn_status 503; echo_sleep 0.05; echo -n "{note}"; }}
        location /closed/ {{ limit_conn closed 20; limit_conn_status 444; echo_sleep 0.05; echo -n "{note}"; }}
    }}
"""

OPENSSL = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1
"""


def write_files(folder: Path, count: int, size: int) -> None:
    """`count` files of `size` bytes, no two alike, the same in every run. Named by number: file_name(i)."""
    folder.mkdir(parents=True)
    noise = random.Random(1).randbytes(min(size, PIECE))
    for number in range(count):
        head = b"%016d" % number
        with open(folder / file_name(number), "wb") as out:
            for start in range(0, size, PIECE):
                out.write(head + noise[len(head): min(PIECE, size - start)])


def file_name(number: int) -> str:
    return f"{number:08d}"


def make_certificates(work: Path) -> None:
    """bundle.pem: the system's authorities and ours, as big as users have it; system.pem: without ours."""
    system = next((Path(path) for path in SYSTEM_BUNDLES if os.path.exists(path)), None)
    if system is None:
        raise RuntimeError("no system CA bundle found (Debian: ca-certificates)")
    (work / "openssl.cnf").write_text(OPENSSL)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3"]
    req = ["openssl", "req", "-x509", "-config", "openssl.cnf", *key]
    for options in (
        ["-extensions", "ca", "-subj", "/CN=fetchmany bench CA", "-keyout", "ca.key", "-out", "ca.pem"],
        ["-extensions", "leaf", "-subj", "/CN=127.0.0.1", "-keyout", "leaf.key", "-out", "leaf.pem",
         "-CA", "ca.pem", "-CAkey", "ca.key"],
    ):
        done = subprocess.run(req + options, cwd=work, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"openssl: {done.stderr.strip()}")
    (work / "system.pem").write_bytes(system.read_bytes())
    (work / "bundle.pem").write_bytes(system.read_bytes() + (work / "ca.pem").read_bytes())


class Nginx:
    """A running nginx, as a context manager. Serves `files` on `http` and `https`, both URL prefixes."""

    def __init__(self, binary: str, work: Path, files: Path, echo: Path | None = None):
        """With nginx's echo module it serves `places` too."""
        ports = dict(zip(("http", "https", "hosts", "status", "places"), _free_ports(5)))
        self.http = f"http://127.0.0.1:{ports['http']}"
        self.https = f"https://127.0.0.1:{ports['https']}"
        self._hosts = ports["hosts"]
        self._status = f"http://127.0.0.1:{ports['status']}/"
        self._errors = work / "nginx.err"
        # Started as root its workers would become a user who cannot read our private directory.
        user = "user root;" if os.geteuid() == 0 else ""
        note, places = NOTE.decode(), ports.pop("places")
        self.places = f"http://127.0.0.1:{places}"
        (work / "nginx.conf").write_text(NGINX.format(
            modules=f"load_module {echo};" if echo else "",
            places=PLACES.format(port=places, work=work, note=note) if echo else "",
            user=user, work=work, files=files, note=note, **ports))
        self._argv = [binary, "-p", str(work), "-e", str(self._errors), "-c", str(work / "nginx.conf")]

    def at(self, host: int) -> str:
        """The URL prefix of one of its hosts, of which there are a million."""
        return f"http://127.{1 + host // 62500}.{host // 250 % 250}.{1 + host % 250}:{self._hosts}"

    def __enter__(self) -> "Nginx":
        self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, process_group=0)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.counters()
                return self
            except OSError:
                if self._process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
            self.__exit__()
            raise RuntimeError(f"nginx does not start: {self._errors.read_text().strip()}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # its workers too: it leads their group
            self._process.wait()

    def counters(self) -> tuple[int, int]:
        """(connections, requests) served since the start, those of this call included."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self._status, timeout=5) as answer:
            accepts, _handled, requests = answer.read().decode().split("\n")[2].split()
        return int(accepts), int(requests)


def echo_module(nginx: str) -> Path | None:
    """Its echo module, if it is installed (Debian: libnginx-mod-http-echo)."""
    options = subprocess.run([nginx, "-V"], capture_output=True, text=True, timeout=20).stderr.split()
    folder = next((word.split("=", 1)[1] for word in options if word.startswith("--modules-path=")), "")
    module = Path(folder) / "ngx_http_echo_module.so"
    return module if module.is_file() else None


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
