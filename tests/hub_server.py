"""A small hub on 127.0.0.1: the part of the Hugging Face hub's answers that downloading a model needs, and its faults.

Large files live at another address, as on the hub: the answer for them is a redirect with their size and SHA-256.
"""

import hashlib
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

LARGE = (".safetensors", ".bin")


@dataclass
class Model:
    """A model on the hub: its files, the branches and tags that there are, and who may see it."""

    files: dict[str, bytes]
    revisions: dict[str, str] = field(default_factory=lambda: {"main": "1" * 40})
    gated: bool = False
    older: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def at(self, commit: str) -> dict[str, bytes]:
        return self.older.get(commit, self.files)


class Hub:
    """The server, its models, its faults and what it was asked.

    Args:
        models: by name.
    """

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.tokens: list[tuple[str, str | None]] = []
        self.cut_after: list[int] = []  # bytes of the body after which each next large answer breaks off
        self.hold_after: int | None = None  # bytes after which a large answer comes to a standstill
        self.spoil = 0  # how many next large answers have a wrong byte
        self.stopped = False
        self.status = 0  # answer everything with this error
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def downloads(self) -> Counter[str]:
        """How often each large file's contents were asked for."""
        return Counter(path for method, path, _ in self.asked if method == "GET" and path.startswith("/large/"))

    def stop(self) -> None:
        self.stopped = True  # connections that are open answer nothing more, either
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_HEAD(self) -> None:
        self.respond(with_body=False)

    def do_GET(self) -> None:
        self.respond(with_body=True)

    def log_message(self, *_: object) -> None:
        pass

    def respond(self, *, with_body: bool) -> None:
        if self.hub.stopped:
            self.close_connection = True
            return None
        self.hub.asked.append((self.command, self.path, self.headers.get("Range")))
        self.hub.tokens.append((self.path, self.headers.get("Authorization")))
        if self.hub.status:
            return self.refuse(self.hub.status)
        if self.path.startswith("/large/"):
            return self.large(self.path.removeprefix("/large/"), with_body)
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        model = self.hub.models.get(match[1]) if match else None
        if match is None or model is None:
            return self.refuse(401, "RepoNotFound")
        if model.gated:
            return self.refuse(403, "GatedRepo")
        revision, name = unquote(match[2]), unquote(match[3])
        commit = revision if revision in model.revisions.values() else model.revisions.get(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        body = model.at(commit).get(name)
        if body is None:
            return self.refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        if name.endswith(LARGE):
            checksum = hashlib.sha256(body).hexdigest()
            headers = {"X-Linked-Etag": f'"{checksum}"', "X-Linked-Size": str(len(body)), "X-Repo-Commit": commit}
            headers |= {"Location": f"http://localhost:{self.hub.port}/large/{checksum}", "ETag": '"other"'}
            return self.answer(302, headers, b"")
        checksum = hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()
        return self.answer(200, {"ETag": f'"{checksum}"', "X-Repo-Commit": commit}, body, with_body=with_body)

    def large(self, checksum: str, with_body: bool) -> None:
        everything = [body for model in self.hub.models.values() for body in model.files.values()]
        everything += [
            body for model in self.hub.models.values() for old in model.older.values() for body in old.values()
        ]
        body = next((each for each in everything if hashlib.sha256(each).hexdigest() == checksum), None)
        if body is None:
            return self.refuse(404)
        start = 0
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(wanted[1])
        headers = {"ETag": f'"{checksum}"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        sent = body[start:]
        if with_body and self.hub.spoil:
            self.hub.spoil -= 1
            sent = sent[:-1] + bytes([sent[-1] ^ 1])
        cut = self.hub.cut_after.pop(0) if with_body and self.hub.cut_after else None
        return self.answer(206 if start else 200, headers, sent, with_body=with_body, cut=cut)

    def refuse(self, status: int, code: str | None = None, headers: dict[str, str] | None = None) -> None:
        self.answer(status, (headers or {}) | ({"X-Error-Code": code} if code else {}), b"")

    def answer(
        self, status: int, headers: dict[str, str], body: bytes, *, with_body: bool = True, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            hold = self.hub.hold_after if cut is None and self.path.startswith("/large/") else None
            self.wfile.write(body[: cut if hold is None else hold])
            self.wfile.flush()
            if hold is not None:
                self.connection.settimeout(10)
                self.rfile.read(1)  # until the other side goes away
                self.close_connection = True
        if cut is not None:
            self.close_connection = True
