"""Keys, origins, and paths behind a proxy."""

import pytest

from support.server import Server

MODELS = "/v1/models"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def guarded(tiny_model):
    with Server(tiny_model, "--api-key", "first", "second", "--api-key", "third-ü", "--root-path", "/llm") as running:
        yield running


@pytest.mark.parametrize("key", ["first", "second"])
def test_each_key_opens(guarded, key):
    assert guarded.http.get(MODELS, headers=bearer(key)).status_code == 200


def test_key_that_is_not_ascii_opens(guarded):
    headers = [(b"authorization", "Bearer third-ü".encode())]
    assert guarded.http.get(MODELS, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("firs"),
        bearer("first2"),
        bearer("FIRST"),
        {"Authorization": "first"},
        bearer("first second"),
    ],
    ids=repr,
)
def test_anything_else_does_not(guarded, headers):
    for method, path in (("GET", MODELS), ("POST", "/v1/completions"), ("POST", "/tokenize")):
        response = guarded.http.request(method, path, headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
        assert response.headers["www-authenticate"] == "Bearer"


def test_prefix_of_a_proxy_may_still_be_there(guarded):
    assert guarded.http.get("/llm/v1/models", headers=bearer("first")).status_code == 200
    assert guarded.http.get("/llm/v1/models").status_code == 401
    assert guarded.http.get("/llm/llm/v1/models", headers=bearer("first")).status_code == 404
    assert guarded.http.get("/llm/health").status_code == 200


@pytest.mark.parametrize("path", ["//v1/models", "/v1/../v1/models", "/V1/models", "/v1%2Fmodels", "/llm//v1/models"])
def test_spelling_a_path_differently_opens_nothing(guarded, path):
    assert guarded.http.request("GET", path).status_code in (401, 404)


@pytest.mark.parametrize("path", ["/health", "/ping", "/version", "/metrics", "/load"])
def test_state_is_open_to_monitors(guarded, path):
    assert guarded.http.get(path).status_code == 200


def test_key_from_the_environment(tiny_model):
    with Server(tiny_model, env={"VLLM_API_KEY": "from-env"}) as server:
        assert server.http.get(MODELS).status_code == 401
        assert server.http.get(MODELS, headers=bearer("from-env")).status_code == 200


def test_pages_of_other_origins_may_not_call_by_default(http):
    headers = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    asked = http.options("/v1/completions", headers=headers)
    assert asked.status_code == 400 and "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in http.get("/v1/models", headers=headers).headers


def test_requests_can_be_followed_by_their_id(tiny_model, http):
    assert "x-request-id" not in http.get("/health").headers
    with Server(tiny_model, "--enable-request-id-headers", "--disable-fastapi-docs") as server:
        ids = [server.http.get("/health").headers["x-request-id"] for _ in range(2)]
        assert ids[0] != ids[1] and {len(each) for each in ids} == {32}
        request = {"prompt": "a", "max_tokens": 1}
        answer = server.http.post("/v1/completions", json=request, headers={"X-Request-Id": "mine"})
        assert answer.headers["x-request-id"] == "mine" and answer.json()["id"] == "cmpl-mine"
        assert server.http.get("/openapi.json").status_code == 404


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_headers_that_are_not_accepted(http, path):
    body = {"prompt": "a", "max_tokens": 1}
    if path != "/v1/completions":
        body = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
    for name, value in (("X-Request-Id", "x" * 257), ("X-Vllm-Priority", "high"), ("X-Vllm-Priority", "9" * 19)):
        answer = http.post(path, json=body, headers={name: value})
        assert answer.status_code == 400 and "-".join(name.split("-")[-1:]).lower() in answer.text.lower()
    assert http.post(path, json=body, headers={"X-Vllm-Priority": "-5"}).status_code == 200


def test_origins_can_be_limited(tiny_model):
    with Server(tiny_model, "--allowed-origins", '["http://a.example"]') as server:
        allowed = server.http.get("/health", headers={"Origin": "http://a.example"})
        other = server.http.get("/health", headers={"Origin": "http://b.example"})
        assert allowed.headers["access-control-allow-origin"] == "http://a.example"
        assert "access-control-allow-origin" not in other.headers
