"""Sleep mode over HTTP, which a server offers where VLLM_SERVER_DEV_MODE asks for it."""

import re

import httpx

from support.server import Server

PROMPT = {"prompt": [5, 6, 7], "max_tokens": 4, "temperature": 0}


def states(http: httpx.Client) -> dict[str, float]:
    found = re.findall(
        r'^vllm:engine_sleep_state{.*sleep_state="(\w+)"} (\S+)$', http.get("/metrics").text, re.MULTILINE
    )
    return {name: float(value) for name, value in found}


def test_a_server_sleeps_and_wakes_up(tiny_model):
    with Server(tiny_model, "--enable-sleep-mode", env={"VLLM_SERVER_DEV_MODE": "1"}) as server:
        http = server.http
        expected = http.post("/v1/completions", json=PROMPT).json()["choices"]
        assert http.get("/is_sleeping").json() == {"is_sleeping": False}
        assert states(http) == {"awake": 1, "weights_offloaded": 0, "discard_all": 0}
        assert http.post("/sleep", params={"level": "2"}).json() == {"status": "sleeping", "level": 2}
        assert http.get("/is_sleeping").json() == {"is_sleeping": True}
        assert states(http) == {"awake": 0, "weights_offloaded": 0, "discard_all": 1}
        refused = http.post("/v1/completions", json=PROMPT)
        assert refused.status_code == 400
        assert "the engine sleeps" in refused.json()["error"]["message"]
        woken = http.post("/wake_up", params={"tags": "weights"})
        assert woken.json() == {"status": "sleeping", "tags": ["weights"]}
        assert http.post("/wake_up").json() == {"status": "awake", "tags": None}
        assert states(http) == {"awake": 1, "weights_offloaded": 0, "discard_all": 0}
        assert http.post("/v1/completions", json=PROMPT).json()["choices"] == expected
        for level in ("3", "deep", "9" * 5000):
            refused = http.post("/sleep", params={"level": level})
            assert refused.status_code == 400
            assert "give 1 or 2" in refused.json()["error"]["message"]


def test_other_servers_have_no_such_routes(http):
    assert http.post("/sleep").status_code == 404
