"""The page's files and figures over plain HTTP."""

import re

import pytest

from support.server import Server

FILES = {
    "/": "text/html",
    "/web/app.js": "text/javascript",
    "/web/style.css": "text/css",
    "/web/icon.svg": "image/svg+xml",
}


@pytest.mark.parametrize(("path", "media_type"), FILES.items())
def test_files_have_their_type_and_a_strict_policy(server: Server, path: str, media_type: str) -> None:
    response = server.http.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == media_type
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_the_page_names_no_other_host(server: Server) -> None:
    text = server.http.get("/").text
    names = ["/" + name for name in re.findall(r'(?:src|href)="([^"#]+)"', text)]
    assert {"/web/app.js", "/web/style.css"} <= set(names)
    for name in names:
        assert server.http.get(name).status_code == 200


def test_head_is_answered(server: Server) -> None:
    response = server.http.head("/")
    assert (response.status_code, response.content) == (200, b"")


def test_unknown_files_are_not_found(server: Server) -> None:
    assert server.http.get("/web/../__init__.py").status_code == 404
    assert server.http.get("/web/%2e%2e/__init__.py").status_code == 404
    assert server.http.get("/web/nothing.js").status_code == 404


def test_stats_count_what_was_generated(server: Server) -> None:
    server.wait_idle()
    before = server.http.get("/web/stats").json()
    body = {"prompt": "the quick brown fox", "max_tokens": 7, "temperature": 0}
    server.http.post("/v1/completions", json=body).raise_for_status()
    after = server.http.get("/web/stats").json()
    assert after["generation_tokens"] - before["generation_tokens"] == 7
    assert after["prompt_tokens"] > before["prompt_tokens"]
    assert after["clock"] > before["clock"]
    assert after["engine_up"] is True
    assert after["kv_cache_tokens"] > 0
    assert 0 <= after["kv_cache_usage"] <= 1


def test_polling_does_not_fill_the_access_log(server: Server) -> None:
    server.http.get("/web/stats").raise_for_status()
    server.http.get("/version?seen-in-the-log").raise_for_status()
    assert "/web/stats" not in server.errors()
