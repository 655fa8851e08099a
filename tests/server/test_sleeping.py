"""Sleep mode over HTTP, which a server offers where VLLM_SERVER_DEV_MODE asks for it."""

from support.server import Server

PROMPT = {"prompt": [5, 6, 7], "max_tokens": 4, "temperature": 0}


def test_a_server_sleeps_and_wakes_up(tiny_model):
    with Server(tiny_model, "--enable-sleep-mode", env={"VLLM_SERVER_DEV_MODE": "1"}) as server:
        http = server.http
        expected = http.post("/v1/completions", json=PROMPT).json()["choices"]
        assert http.get("/is_sleeping").json() == {"is_sleeping": False}
        assert http.post("/sleep", params={"level": "2"}).status_code == 200
        assert http.get("/is_sleeping").json() == {"is_sleeping": True}
        refused = http.post("/v1/completions", json=PROMPT)
        assert refused.status_code == 400
        assert "the engine sleeps" in refused.json()["error"]["message"]
        assert http.post("/wake_up", params={"tags": "weights"}).status_code == 200
        assert http.post("/wake_up").status_code == 200
        assert http.post("/v1/completions", json=PROMPT).json()["choices"] == expected
        for level in ("3", "deep", "9" * 5000):
            refused = http.post("/sleep", params={"level": level})
            assert refused.status_code == 400
            assert "give 1 or 2" in refused.json()["error"]["message"]


def test_other_servers_have_no_such_routes(http):
    assert http.post("/sleep").status_code == 404
