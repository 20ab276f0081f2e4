"""Guard before all routes: names of the host, origins, the token, and headers of every answer.

A request is refused before any route sees it. Nothing here knows slides.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, unquote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ENCODED_SLASH", "Access", "Guard"]

ENCODED_SLASH = "%2F"
_SLASH = re.compile(rb"%2[fF]")

OWN_HOSTS = ("localhost", "127.0.0.1", "[::1]")
READS = ("GET", "HEAD")
WRITE_HEADER = "x-gigaslide"
UPLOADS, UPLOADED = "/api/uploads", "application/octet-stream"
NO_TOKEN = ("/health",)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
RawHeader = tuple[bytes, bytes]
RAW_HEADERS = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
HEAD = (
    "<!doctype html><meta charset=utf-8><title>gigaslide</title>"
    '<link rel="icon" href="static/icon.svg">'
)
UNKNOWN = "<p>Open the link that the command printed: it holds the token of this server.</p>"

AGAIN = "again"
ASK_AGAIN = f'<meta http-equiv="refresh" content="0; url=./?{AGAIN}">'
GREETING = f'{HEAD}<meta http-equiv="refresh" content="0; url=./"><p><a href="./">gigaslide</a></p>'


@dataclass(frozen=True, kw_only=True)
class Access:
    """Access to a server: the token that opens it, and the host names it answers to."""

    token: str
    cookie: str
    """Name of the cookie; it holds the port, because browsers share cookies between ports."""
    hosts: frozenset[str]
    """Names of the host, lower case, without port."""
    base_url: str = "/"
    origins: frozenset[str] = frozenset()
    """Names of proxies whose pages may write, lower case, without port: a proxy may rewrite Host,
    and then the browser's Origin is none of this server's names."""

    @classmethod
    def of(
        cls,
        token: str,
        *,
        port: int,
        hosts: Iterable[str],
        base_url: str,
        origins: Iterable[str] = (),
    ) -> "Access":
        """Return the access to a server on a port; 0 stands for a Unix socket."""
        # Two servers may have one port, each on its own node behind a tunnel of its own.
        mark = hashlib.sha256(f"name {token}".encode()).hexdigest()[:8]
        names = frozenset(name.lower() for name in (*OWN_HOSTS, *hosts))
        return cls(
            token=token,
            cookie=f"gigaslide-{port}-{mark}",
            hosts=names,
            base_url=base_url,
            origins=frozenset(name.lower() for name in origins),
        )

    def is_token(self, offered: str) -> bool:
        """Compare in a time that does not depend on the text offered."""
        known, other = (
            hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
            for text in (self.token, offered)
        )
        return hmac.compare_digest(known, other)


class Guard:
    """ASGI middleware that refuses requests without a right to be answered."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSockets here
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_safe_headers(message["headers"])}
            await send(message)

        headers = Headers(scope=scope)
        scope = self._without_base_url(_keep_slashes(scope))
        answer = self._refuse(scope, headers)
        if answer is None:
            answer = self._let_in(scope, headers)
        await (answer or self._app)(scope, receive, send_safely)

    def _without_base_url(self, scope: Scope) -> Scope:
        """Take the base URL off the path, where the proxy has not done so."""
        base, path = self._access.base_url, scope["path"]
        if base != "/" and (path == base or path.startswith(f"{base}/")):
            return {**scope, "path": path[len(base) :] or "/"}
        return scope

    def _refuse(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse what a page of another site could have sent, whatever the route."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._access.hosts:
            return _problem(
                403, "this name of the host is not allowed; start the server with --allow-host NAME"
            )
        for origin in origins:
            if not self._is_own(origin, hosts[0]):
                return _problem(403, "requests of other sites are refused")
        if headers.get("sec-fetch-site") == "cross-site" and not _is_navigation(scope, headers):
            return _problem(403, "requests of other sites are refused")
        if scope["method"] in READS:
            return None
        if headers.get(WRITE_HEADER) != "1":
            return _problem(403, "a request that changes something needs the header X-Gigaslide: 1")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        taken = UPLOADED if scope["path"] == UPLOADS else "application/json"
        if scope["method"] != "DELETE" and kind != taken:
            return _problem(415, f"send {taken}")
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        scheme, _, place = origin.partition("://")
        is_here = place.lower() == host.lower() or _host_name(place) in self._access.origins
        return scheme in ("http", "https") and is_here

    def _let_in(self, scope: Scope, headers: Headers) -> Response | None:
        """Return None where the request carries the token; else the answer to give."""
        path = scope["path"]
        if path in NO_TOKEN:
            return None
        if path == "/" and scope["method"] == "GET" and b"token=" in scope["query_string"]:
            offered = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            return self._greet() if self._access.is_token(offered) else _unknown(path)
        kind, _, offered = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            offered = self._read_cookie(headers)
        if self._access.is_token(offered.strip()):
            return None
        return _unknown(path, again=scope["query_string"] != AGAIN.encode())

    def _greet(self) -> Response:
        """Trade the token of the first link for a cookie, and lead to a fixed place without it.

        By a page of this server, not by a redirect: that would still count as a request of the site
        whose link was followed, to which browsers give no cookie of SameSite=Strict.
        """
        base = self._access.base_url
        # Relative, because a proxy may have taken its own path off.
        answer = Response(GREETING, media_type="text/html")
        answer.set_cookie(
            self._access.cookie, self._access.token, path=base, httponly=True, samesite="strict"
        )
        return answer

    def _read_cookie(self, headers: Headers) -> str:
        for line in headers.getlist("cookie"):
            try:
                found = SimpleCookie(line).get(self._access.cookie)
            except CookieError:
                continue
            if found is not None:
                return found.value
        return ""


def _with_safe_headers(headers: Iterable[RawHeader]) -> list[RawHeader]:
    """Return the headers of an answer with those of every answer, which no route can change."""
    own = [(name, value) for name, value in headers if name not in RAW_HEADERS]
    if not any(name == b"cache-control" for name, _ in own):
        own.append((b"cache-control", b"no-store"))
    return [*own, *RAW_HEADERS.items()]


def _keep_slashes(scope: Scope) -> Scope:
    """Leave a slash that a client encoded as %2F in the path: it belongs to a name, such as the id
    of a slide, and parts nothing."""
    parts = _SLASH.split(scope.get("raw_path", b""))
    if len(parts) == 1:
        return scope
    return {**scope, "path": ENCODED_SLASH.join(unquote(part.decode("latin-1")) for part in parts)}


def _is_navigation(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"


def _host_name(host: str) -> str:
    """Name of a Host header without its port, lower case."""
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        return name.lower()
    return host.lower()


def _unknown(path: str, *, again: bool = False) -> Response:
    """Refuse who has no token. again: let the browser ask once more, as this site, because after a
    link on another site it kept the cookie back."""
    if path == "/":
        return Response(HEAD + (ASK_AGAIN if again else "") + UNKNOWN, 401, media_type="text/html")
    return _problem(401, "no valid token")


def _problem(status: int, words: str) -> Response:
    return Response(json.dumps({"error": words}), status, media_type="application/json")
