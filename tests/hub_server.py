"""A small server that speaks the Hugging Face hub's protocol on loopback, for tests and for docs/cli.md.

Owns repositories in memory, and faults on order; must not know geotoken. It has the endpoints that the
official client calls for a model: info, tree, download by redirect and range, preupload, LFS batch, commit.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "x" * 30


def sha1(content):
    return hashlib.sha1(content).hexdigest()


@dataclass
class Repo:
    """A repository: the files of each commit, and what branches and tags point at."""

    private: bool = False
    gated: bool = False
    commits: dict = field(default_factory=dict)
    refs: dict = field(default_factory=dict)

    def commit(self, files, ref="main"):
        oid = sha1(repr((len(self.commits), sorted(files))).encode())
        self.commits[oid] = dict(files)
        self.refs[ref] = oid
        return oid

    def files(self, revision):
        return self.commits.get(self.refs.get(revision, revision))


class Hub(ThreadingHTTPServer):
    """State of the server, faults to order, and a record of all requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos, self.uploads, self.requests = {}, {}, []
        self.cut, self.spoilt, self.status = {}, set(), None

    def downloads(self):
        return [path.split("/resolve/")[1].split("/", 1)[1] for method, path in self.requests
                if method == "GET" and "/resolve/" in path]  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

    def find(self, repo_id, revision):
        """The repository and the files of a revision; None after the refusal is sent."""
        repo = self.server.repos.get(repo_id)
        if repo is None or (repo.private and not self.logged_in()):
            return self.refuse(401 if repo is None and not self.logged_in() else 404, "RepoNotFound")
        if repo.gated:
            return self.refuse(403, "GatedRepo")
        if repo.commits and repo.files(revision) is None:
            return self.refuse(404, "RevisionNotFound")
        return repo, repo.files(revision) or {}, repo.refs.get(revision, revision)

    def logged_in(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        if self.server.status is not None:
            return self.answer(self.server.status, {"error": "out of order"})
        for method, pattern, action in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                return action(self, body, *match.groups())
        return self.refuse(404, f"no route for {self.command} {path}")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def info(self, _, repo_id, revision="main"):
        if found := self.find(repo_id, revision or "main"):
            repo, files, oid = found
            siblings = [{"rfilename": name} for name in files]
            self.answer(200, {"_id": "1", "id": repo_id, "sha": oid, "private": repo.private,
                              "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})  # fmt: skip

    def tree(self, _, repo_id, revision):
        if found := self.find(repo_id, revision):
            self.answer(
                200,
                [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(content),
                        "oid": sha1(content),
                    }
                    for name, content in found[1].items()
                ],
            )

    def resolve(self, _, repo_id, revision, name):
        found = self.find(repo_id, revision)
        if not found:
            return None
        content = found[1].get(name)
        if content is None:
            return self.refuse(404, "EntryNotFound")
        if name in self.server.spoilt:
            content = bytes(reversed(content))
        headers = {"X_Repo_Commit": found[2], "ETag": f'"{sha1(found[1][name])}"'}
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range") or "") or [0, 0])[1])
        if self.command == "GET" and self.server.cut.get(name, 0) > 0:
            self.server.cut[name] -= 1
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.close_connection = True
            return None
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.answer(206 if start else 200, content[start:], **headers)

    def create(self, body):
        asked = json.loads(body)
        repo_id = f"{asked['organization']}/{asked['name']}"
        if not self.logged_in():
            return self.refuse(401, "Unauthorized")
        if not repo_id.startswith("me/"):
            return self.refuse(403, "Forbidden")
        if repo_id in self.server.repos:
            return self.answer(409, {"error": "exists", "url": f"{self.server.url}/{repo_id}"})
        visibility = asked.get("visibility")
        self.server.repos[repo_id] = Repo(private=bool(asked.get("private")) or visibility == "private")
        return self.answer(200, {"url": f"{self.server.url}/{repo_id}", "name": repo_id, "id": repo_id})

    def validate(self, body):
        text = json.loads(body)["content"]
        errors = [] if text.startswith("---\n") and "\nlicense: " in text else [{"message": "no license"}]
        self.answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def preupload(self, body, repo_id, revision):
        self.answer(
            200,
            {
                "files": [
                    {
                        "path": one["path"],
                        "uploadMode": "lfs" if one["size"] > 1000 else "regular",
                        "shouldIgnore": False,
                    }
                    for one in json.loads(body)["files"]
                ]
            },
        )

    def batch(self, body, repo_id):
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def store(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.uploads[oid] = body
        self.answer(200)

    def commit(self, body, repo_id, revision):
        repo = self.server.repos[repo_id]
        files = dict(repo.files(revision) or {})
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                files[entry["value"]["path"]] = self.server.uploads[entry["value"]["oid"]]
        oid = repo.commit(files)
        self.answer(
            200, {"success": True, "commitOid": oid, "commitUrl": f"{self.server.url}/{repo_id}/commit/{oid}"}
        )


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    ("GET", rf"/api/models/{REPO}", Handler.info),
    ("GET", rf"/api/models/{REPO}/revision/(.+)", Handler.info),
    ("GET", rf"/api/models/{REPO}/tree/(.+)", Handler.tree),
    ("GET HEAD", rf"/{REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("POST", r"/api/repos/create", Handler.create),
    ("POST", r"/api/validate-yaml", Handler.validate),
    ("POST", rf"/api/models/{REPO}/preupload/(.+)", Handler.preupload),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", r"/lfs/(\w+)", Handler.store),
    ("POST", rf"/api/models/{REPO}/commit/(.+)", Handler.commit),
]
