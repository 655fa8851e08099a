"""Offers one model repository over HTTP in the way of Hugging Face's hub, as far as huggingface_hub asks for it."""

import json
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler

from support.static_server import answering

NAME, COMMIT = "maker/model", "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{NAME}/revision/"):
            siblings = [{"rfilename": name} for name in self.files]
            self._answer(json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode())
        elif path == f"/api/models/{NAME}/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": f"{index:040x}"}
                for index, (name, content) in enumerate(self.files.items())
            ]
            self._answer(json.dumps(entries).encode())
        else:
            self._answer(self.files.get(path.removeprefix(f"/{NAME}/resolve/{COMMIT}/")))

    do_GET = do_HEAD

    def _answer(self, content: bytes | None) -> None:
        self.send_response(404 if content is None else 200)
        self.send_header("ETag", f'"{abs(hash(self.path)):x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")


def hub(files: dict[str, bytes]) -> AbstractContextManager[str]:
    """The hub's address while the block runs. Its one repository, NAME, holds `files`."""
    return answering(type("Hub", (_Hub,), {"files": files}))
