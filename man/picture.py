#!/usr/bin/env python3
"""Draws picture.svg, the terminal in the README, from a real run: fetchmany in tmux against a slow server of our own.

    man/picture.py target/release/fetchmany > man/picture.svg

Needs Linux, tmux, and the right to listen on port 80 (else the picture shows a port).
"""

import html
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COLUMNS, ROWS, SECONDS = 124, 20, 5.2
HOSTS = ("data.example", "mirror.example", "busy.example")
COLOURS = {"31": "#e06c75", "32": "#98c379", "33": "#e5c07b", "2": "#7f848e"}
CELL, LINE, MARGIN = 8.4, 19, 16  # pixels


class Handler(BaseHTTPRequestHandler):
    """Some answers are slow, some are missing, and one host is busy."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        chance = random.Random(self.path)
        if "busy" in self.headers["Host"]:
            return self.answer(429, b"", ("Retry-After", "30"))
        if "gone" in self.path:
            return self.answer(404, b"")
        size, seconds = chance.randint(2, 90) << 18, chance.uniform(1, 9)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for sent in range(40):
            self.wfile.write(b"x" * (size * (sent + 1) // 40 - size * sent // 40))
            time.sleep(seconds / 40)

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve() -> int:
    """Starts the server; returns its port."""
    for port in (80, 0):
        try:
            server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError:
            continue
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]
    raise OSError("no port")


def photograph(binary: str) -> str:
    """The screen in the middle of a run, with its escape sequences."""
    port = serve()
    suffix = "" if port == 80 else f":{port}"
    with tempfile.TemporaryDirectory() as work:
        with open(Path(work) / "urls.txt", "w") as urls:
            for number in range(120):
                host = HOSTS[2] if number in (4, 5) else HOSTS[number % 2]
                name = f"gone-{number:03}.tar.gz" if number % 9 == 3 else f"set-{number:03}.tar.gz"
                urls.write(f"http://{host}{suffix}/{name}\n")
        known = [f"--resolve {host}:{port}:127.0.0.1" for host in HOSTS]
        # What is typed is shown without what makes the picture possible.
        shown = "fetchmany -j 12 -d data --failed again.txt urls.txt"
        real = shown.replace("fetchmany", f"'{Path(binary).resolve()}' --retry-after-max 60 {' '.join(known)}")
        tmux = ["tmux", "-L", f"picture-{port}-{id(urls)}"]
        start = f"cd '{work}'; clear; printf '$ {shown}\\n'; {real}"
        subprocess.run([*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), f"sh -c \"{start}\""], check=True)
        time.sleep(SECONDS)
        screen = subprocess.run([*tmux, "capture-pane", "-e", "-p"], check=True, capture_output=True, text=True).stdout
        subprocess.run([*tmux, "kill-server"], check=True)
    return screen.rstrip("\n")


def spans(line: str) -> str:
    """One line as SVG text: SGR sequences become colours."""
    out, colour = [], None
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        if found := re.fullmatch(r"\x1b\[([0-9;]*)m", piece):
            colour = COLOURS.get(found[1].split(";")[-1])
        elif piece:
            text = html.escape(piece)
            out.append(f'<tspan fill="{colour}">{text}</tspan>' if colour else text)
    return "".join(out)


def draw(screen: str) -> str:
    lines = screen.split("\n")
    width, height = round(COLUMNS * CELL + 2 * MARGIN), len(lines) * LINE + 2 * MARGIN
    texts = [
        f'<text x="{MARGIN}" y="{MARGIN + LINE * (number + 0.75):g}" xml:space="preserve">{spans(line)}</text>'
        for number, line in enumerate(lines)
    ]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        "<title>fetchmany on a terminal: results, failures with their reasons, and bars</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#1e2127"/>',
        '<g font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="14" fill="#dcdfe4">',
        *texts, "</g>", "</svg>",
    ])


if __name__ == "__main__":
    print(draw(photograph(sys.argv[1])))
