"""Who gets an answer: tokens, hosts, origins, headers, and names that are no paths.

Each known hole of such servers is a test: see the numbers V9 to V11.
"""

import http.client
import logging
import re
import socket
import stat
import sys
from pathlib import Path

import pytest
from gigaslide.serve import Access, Listener, ServerSettings
from gigaslide.serve.app import OPERATIONS
from gigaslide.storage import SettingsError
from serving import Served, feature, make_workspace, serve

PATHS = {
    "id": "a",
    "z": "0",
    "x": "0",
    "y": "0",
    "n": "1",
    "tab": "tab",
}


def address(template: str, **values: str) -> str:
    return template.format(**{**PATHS, **values})


READS = [address(one.path) for one in OPERATIONS if one.method == "GET" and one.path != "/health"]
READS += ["/", "/static/map.js", "/openapi.json", "/docs", "/nothing"]
WRITES = [(one.method, address(one.path)) for one in OPERATIONS if one.method != "GET"]


def files_of(served: Served) -> list[tuple[Path, int, int]]:
    found = served.folder.joinpath("annotations").rglob("*")
    return sorted((p, p.stat().st_mtime_ns, p.stat().st_size) for p in found if p.is_file())


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("token", ["", "x", "é", "a" * 5000])
def test_v9_every_address_needs_the_token(shown, path, token):
    authorization = f"Bearer {token}" if token else ""
    answer = shown.ask(path, Authorization=authorization)
    assert answer.status == 401
    assert shown.listener.token.encode() not in answer.content
    assert b"slide" not in answer.content.replace(b"gigaslide", b"")


def test_v9_only_health_needs_no_token_and_tells_nothing(shown):
    answer = shown.ask("/health", Authorization="")
    assert (answer.status, list(answer.plain)) == (200, ["version"])


@pytest.mark.parametrize("place", ["before", "after", "case", "space"])
def test_v9_a_token_that_is_nearly_right_is_wrong(shown, place):
    token = shown.listener.token
    near = {"before": f"x{token}", "after": token[:-1], "case": token.swapcase(), "space": ""}
    assert shown.ask("/api/slides", token=near[place] or f"{token[:5]} {token[5:]}").status == 401


def test_v9_ten_thousand_guesses_open_nothing(shown):
    access = shown.listener.access
    assert not any(access.is_token(f"{number:043d}") for number in range(10_000))
    assert access.is_token(shown.listener.token)
    connection = http.client.HTTPConnection("127.0.0.1", shown.listener.port, timeout=30)
    statuses = set()
    for number in range(300):
        connection.request("GET", "/api/slides", headers={"Authorization": f"Bearer {number}"})
        answer = connection.getresponse()
        statuses.add((answer.status, answer.read()))
    connection.close()
    assert {status for status, _ in statuses} == {401}
    assert len(statuses) == 1
    assert shown.ask("/api/slides").status == 200


def test_v9_the_token_of_another_server_is_old(shown, tmp_path):
    for other in serve(make_workspace(tmp_path), tmp_path):
        assert other.ask("/api/slides", token=shown.listener.token).status == 401


def test_v9_tokens_are_compared_without_a_look_at_their_length():
    access = Access.of("secret", port=1, hosts=(), base_url="/")
    assert access.is_token("secret")
    assert not any(map(access.is_token, ("", "secre", "secrets", "SECRET", "\udcff")))


def test_the_first_link_trades_its_token_for_a_cookie(shown):
    token = shown.listener.token
    answer = shown.ask(f"/?token={token}", Authorization="")
    assert answer.status == 200
    assert refresh_of(answer) == "./"
    assert token.encode() not in answer.content
    cookie = answer.headers["set-cookie"]
    assert f"gigaslide-{shown.listener.port}-" in cookie
    for part in ("httponly", "samesite=strict", "path=/"):
        assert part in cookie.lower()
    pair = cookie.split(";")[0]
    assert shown.ask("/api/slides", Authorization="", Cookie=pair).status == 200
    assert shown.ask("/", Authorization="", Cookie=f"other=1; {pair}").status == 200
    assert shown.ask("/", Authorization="", Cookie=pair[:-1]).status == 401
    assert shown.ask("/?token=wrong", Authorization="").status == 401
    assert shown.ask(f"/api/slides?token={token}", Authorization="").status == 401
    assert refresh_of(shown.ask(f"/?token={token}&next=//evil.example")) == "./"


def refresh_of(answer) -> str:
    """Where a page leads to by itself; empty if nowhere."""
    assert answer.headers["content-type"].startswith("text/html")
    found = re.search(rb'http-equiv="refresh" content="0; url=([^"]*)"', answer.content)
    return found[1].decode() if found else ""


def test_after_a_link_of_another_site_the_browser_asks_once_more_with_its_cookie(shown):
    sent = {"Authorization": "", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    first = shown.ask("/", **sent)
    assert (first.status, refresh_of(first)) == (401, "./?again")
    second = shown.ask("/?again", Authorization="")
    assert (second.status, refresh_of(second)) == (401, "")
    cookie = shown.ask(f"/?token={shown.listener.token}", **sent).headers["set-cookie"]
    assert shown.ask("/?again", Authorization="", Cookie=cookie.split(";")[0]).status == 200
    wrong = shown.ask("/?token=wrong", **sent)
    assert (wrong.status, refresh_of(wrong)) == (401, "")


def test_the_token_is_in_no_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    workspace = make_workspace(tmp_path)
    for served in serve(workspace, tmp_path):
        served.ask(f"/?token={served.listener.token}", Authorization="")
        served.ask("/api/slides")
        workspace.__dict__["catalogue"] = None  # a fault of the server
        assert served.ask("/api/slides").status == 500
        workspace.__dict__.pop("catalogue")
        workspace.catalogue.start()
        assert served.listener.token not in caplog.text
        assert "/api/slides" in caplog.text


@pytest.mark.parametrize("path", [*READS, "/health"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "", "[::2]", "x@localhost"],
)
def test_v11_foreign_hosts_are_refused_before_any_route(shown, path, host):
    assert shown.ask(path, Host=host).status in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8888"])
def test_own_hosts_are_let_in_under_any_port(shown, host):
    assert shown.ask("/api/slides", Host=host).status == 200


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "https://localhost.evil"}),
        (403, {"Origin": "http://127.0.0.1:1"}),
        (403, {"Sec-Fetch-Site": "cross-site"}),
        (403, {"X-Gigaslide": ""}),
        (403, {"X-Gigaslide": "0"}),
        (403, {"Host": "evil.example"}),
        (415, {"Content-Type": "text/plain"}),
        (415, {"Content-Type": "application/x-www-form-urlencoded"}),
        (415, {"Content-Type": "multipart/form-data; boundary=x"}),
        (401, {"Authorization": ""}),
    ],
)
def test_v11_writes_from_elsewhere_change_nothing(shown, method, path, status, headers):
    if status == 415 and method == "DELETE":
        return
    before = files_of(shown)
    body = {"outlines": {"features": [feature()]}, "events": [{"slide": "a", "kind": "open"}]}
    sent = {"If-Match": '"0"', **headers}
    answer = shown.ask(path, method=method, body=body, **sent)
    assert answer.status == status
    assert files_of(shown) == before


def test_v11_the_own_origin_is_let_in(served):
    origin = f"http://127.0.0.1:{served.listener.port}"
    body = {"outlines": {"features": [feature()]}}
    path = "/api/slides/a/outlines"
    answer = served.ask(path, method="POST", body=body, If_Match='"0"', Origin=origin)
    assert answer.status == 201


@pytest.mark.parametrize("path", [*READS, "/health"])
def test_no_answer_allows_other_sites_and_all_have_a_strict_policy(shown, path):
    origin = f"http://127.0.0.1:{shown.listener.port}"
    for method in ("GET", "OPTIONS"):
        answer = shown.ask(path, method=method, Origin=origin)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"


BAD_NAMES = (
    "..",
    "../a",
    "..%2f..%2fsecret.js",
    "%2e%2e",
    "%2e%2e%2fsecret.js",
    "..%252fsecret.js",
    "..%5csecret.js",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "a%00",
    "a%00.jpg",
    "%00",
    "a%2f..%2fb",
    "a.",
    "a%20",
    "a%0d%0aSet-Cookie:x=1",
    "aa",
    "A",
    ".",
    "~root",
    "C:%5cwindows",
    "file:%2f%2f%2fetc%2fpasswd",
    "%ff%fe",
    "x" * 3000,
)


@pytest.fixture(scope="module")
def opened(shown) -> list[str]:
    """Files that this process opens in reading and writing, by their names as they are given."""
    names: list[str] = []

    def listen(event: str, arguments: tuple) -> None:
        if event in ("open", "os.remove", "os.rename", "os.mkdir", "os.listdir"):
            names.append(str(arguments[0]))

    sys.addaudithook(listen)
    return names


@pytest.mark.parametrize("name", BAD_NAMES)
def test_v10_a_path_in_any_route_leads_nowhere(shown, opened, name):
    before = files_of(shown)
    opened.clear()
    for one in OPERATIONS:
        for parameter in re.findall(r"{(\w+)}", one.path):
            if parameter == "tab" and name in ("aa", "A"):
                continue  # a name that a tab may have
            path = address(one.path, **{parameter: name})
            answer = shown.ask(path, method=one.method, body={}, If_Match='"0"')
            assert answer.status in (400, 404, 405, 422), (one.method, path)
            assert b"root:" not in answer.content
    for path in (f"/static/{name}", f"/static/vendor/{name}", f"/{name}"):
        assert shown.ask(path).status in (400, 404), path
    assert not [one for one in opened if re.search("passwd|secret|windows", one)]
    assert files_of(shown) == before


def test_v10_static_files_come_from_a_list(tmp_path):
    page = tmp_path / "page"
    page.mkdir()
    (tmp_path / "page-other").mkdir()
    (tmp_path / "page-other" / "x.js").write_text("secret")
    (tmp_path / "outside.js").write_text("secret")
    (page / "link.js").symlink_to(tmp_path / "outside.js")
    (page / "map.js").write_text("")
    for served in serve(make_workspace(tmp_path), tmp_path):
        assert served.ask("/static/map.js").status == 200
        assert served.ask("/static/map.js").headers["content-type"].startswith("text/javascript")
        for name in ("link.js", "-other/x.js", "../page-other/x.js", "../outside.js", ""):
            assert served.ask(f"/static/{name}").status == 404, name


def test_a_base_url_is_taken_off_where_the_proxy_left_it(tmp_path):
    for served in serve(make_workspace(tmp_path), tmp_path, base_url="/user/ada/proxy/8000/"):
        base = "/user/ada/proxy/8000"
        token = served.listener.token
        assert f"{base}/?token={token}" in served.listener.url
        assert served.ask(f"{base}/api/slides").status == 200
        assert served.ask("/api/slides").status == 200
        assert served.ask(f"{base}x/api/slides").status == 404
        answer = served.ask(f"{base}/?token={token}", Authorization="")
        assert refresh_of(answer) == "./"
        assert f"path={base};" in answer.headers["set-cookie"].lower() + ";"


@pytest.mark.parametrize("value", ["/a b", "/../x", "/a?b", "//evil.example", "/a//b"])
def test_a_base_url_is_a_plain_path(value):
    if value in ("/../x", "//evil.example"):
        assert ServerSettings(base_url=value).base_url in ("/../x", "/evil.example")
        return
    with pytest.raises(ValueError, match="base_url"):
        ServerSettings(base_url=value)


def test_further_hosts_are_allowed_by_name(tmp_path):
    for served in serve(make_workspace(tmp_path), tmp_path, allow_host=("Proxy.example",)):
        assert served.ask("/api/slides", Host="proxy.example").status == 200
        assert served.ask("/api/slides", Host="proxy.example:443").status == 200
        assert served.ask("/api/slides", Host="other.example").status == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://hub.example", 201),
        ("https://HUB.example:8443", 201),
        ("https://evil.example", 403),
        ("https://hub.example.evil", 403),
        ("https://evil@hub.example", 403),
        ("ftp://hub.example", 403),
        ("null", 403),
    ],
)
def test_a_page_behind_a_proxy_that_rewrites_host_may_save(tmp_path, origin, status):
    for served in serve(make_workspace(tmp_path), tmp_path, allow_host=("Hub.example",)):
        answer = served.ask(
            "/api/slides/a/outlines",
            method="POST",
            body={"outlines": {"features": [feature()]}},
            **{"If-Match": '"0"', "Origin": origin, "Host": "localhost:1"},
        )
        assert answer.status == status


def test_a_unix_socket_belongs_to_its_owner(tmp_path):
    path = tmp_path / "s"
    for served in serve(make_workspace(tmp_path), tmp_path, socket=path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            words = "GET /api/slides HTTP/1.1\r\nHost: localhost:8000\r\n"
            words += f"Authorization: Bearer {served.listener.token}\r\nConnection: close\r\n\r\n"
            client.sendall(words.encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"id":"a"' in answer
        with pytest.raises(SettingsError, match="socket"):
            Listener.open(ServerSettings(socket=path))
    assert not path.exists()


def test_a_port_that_is_taken_is_one_line(shown):
    with pytest.raises(SettingsError, match="--port"):
        Listener.open(ServerSettings(port=shown.listener.port))
