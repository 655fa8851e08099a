"""The routes that answer at once."""

import re

import pytest

import vllm
from support.server import Server


def test_health_and_ping(http):
    assert http.get("/health").status_code == 200
    assert http.get("/ping").status_code == http.post("/ping").status_code == 200


def test_version(http):
    assert http.get("/version").json() == {"version": vllm.__version__}


def test_models_are_listed_under_each_name(http, tiny_model):
    body = http.get("/v1/models").json()
    assert body["object"] == "list"
    assert [card["id"] for card in body["data"]] == ["tiny", "alias"]
    card = body["data"][0]
    assert (card["object"], card["root"], card["max_model_len"]) == ("model", str(tiny_model), 4096)
    assert http.get("/v1/models/alias").json()["id"] == "alias"
    assert http.get("/v1/models/other").status_code == 404


def test_tokenize_and_back(http):
    body = http.post("/tokenize", json={"prompt": "the quick ü", "return_token_strs": True}).json()
    assert body["count"] == len(body["tokens"]) == len(body["token_strs"])
    assert body["max_model_len"] == 4096
    assert http.post("/detokenize", json={"tokens": body["tokens"]}).json() == {"prompt": "the quick ü"}


def test_openapi_describes_the_bodies(http):
    paths = http.get("/openapi.json").json()["paths"]
    schema = paths["/v1/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "max_tokens" in schema["properties"]
    assert "$ref" not in http.get("/openapi.json").text
    assert paths["/health"]["get"]["responses"]["200"].get("content", {}) == {}
    answers = paths["/v1/chat/completions"]["post"]["responses"]
    assert answers["200"]["content"].keys() == {"application/json", "text/event-stream"}
    assert "usage" in answers["200"]["content"]["application/json"]["schema"]["properties"]
    assert "error" in answers["4XX"]["content"]["application/json"]["schema"]["properties"]
    assert [parameter["name"] for parameter in paths["/v1/models/{name}"]["get"]["parameters"]] == ["name"]


def test_metrics_count_what_was_done(server, http):
    server.wait_idle()
    before = {name: server.metric(name) for name in ("prompt_tokens_total", "generation_tokens_total")}
    usage = http.post("/v1/completions", json={"prompt": "a b c", "max_tokens": 5, "ignore_eos": True}).json()["usage"]
    server.wait_idle()
    assert server.metric("prompt_tokens_total") - before["prompt_tokens_total"] == usage["prompt_tokens"]
    assert server.metric("generation_tokens_total") - before["generation_tokens_total"] == 5


def test_metrics_have_vllms_names(server, http):
    http.post("/v1/completions", json={"prompt": "a", "max_tokens": 3, "ignore_eos": True})
    response = http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    for name in (
        "num_requests_running",
        "num_requests_waiting",
        "kv_cache_usage_perc",
        "prefix_cache_queries_total",
        "prefix_cache_hits_total",
        "time_to_first_token_seconds_count",
        "inter_token_latency_seconds_sum",
        "e2e_request_latency_seconds_count",
    ):
        assert re.search(rf'^vllm:{name}{{[^}}]*model_name="tiny"[^}}]*}} \S+$', response.text, re.MULTILINE), name
    assert re.search(r'^vllm:request_success_total{.*finished_reason="length".*} [1-9]', response.text, re.MULTILINE)


def test_metrics_of_what_requests_asked_for_and_how_long_they_took(server, http):
    counted = {
        "request_queue_time_seconds_count": 2,
        "request_prefill_time_seconds_count": 2,
        "request_decode_time_seconds_count": 2,
        "request_inference_time_seconds_count": 2,
        "request_params_max_tokens_sum": 14,
        "request_params_n_sum": 2,
        "request_params_n_count": 1,
        "request_max_num_generation_tokens_sum": 7,
        "request_prefill_kv_computed_tokens_sum": 2 * 3,
        "request_num_preemptions_sum": 0,
        "request_num_preemptions_count": 2,
        "request_time_per_output_token_seconds_count": 2,
        "iteration_tokens_total_sum": 2 * (3 + 7),
    }
    server.wait_idle()
    before = {name: server.metric(name) for name in counted}
    request = {"prompt": [5, 6, 7], "n": 2, "max_tokens": 7, "ignore_eos": True}
    assert http.post("/v1/completions", json=request).status_code == 200
    server.wait_idle()
    assert {name: server.metric(name) - before[name] for name in counted} == counted
    settings = re.search(r"^vllm:cache_config_info{(.*)} 1.0$", http.get("/metrics").text, re.MULTILINE)
    assert settings is not None and 'block_size="32"' in settings[1] and 'enable_prefix_caching="True"' in settings[1]
    tokens, at_once = (
        re.search(rf'kv_cache_{name}="(.*?)"', settings[1]) for name in ("size_tokens", "max_concurrency")
    )
    assert int(tokens[1]) == float(at_once[1]) * 4096 > 0


def test_metrics_of_what_waits(http):
    text = http.get("/metrics").text
    reasons = re.findall(r'^vllm:num_requests_waiting_by_reason{.*reason="(\w+)"} (\S+)$', text, re.MULTILINE)
    assert reasons == [("capacity", "0.0"), ("deferred", "0.0")]
    assert text.count("\nvllm:admission_rejections_total{") == 2


def test_buckets_end_where_requests_do(http):
    bounds = re.findall(r'^vllm:request_prompt_tokens_bucket{.*le="(.*?)"', http.get("/metrics").text, re.MULTILINE)
    assert bounds[:4] == ["1.0", "2.0", "5.0", "10.0"] and bounds[-2:] == ["2000.0", "+Inf"]  # max_model_len: 4096


@pytest.mark.parametrize(
    ("form", "told"), [("TEXT", "named_metrics.kv_cache_usage_perc="), ("json", '{"named_metrics"')]
)
def test_load_is_told_to_balancers_that_ask(http, form, told):
    headers = {"endpoint-load-metrics-format": form}
    request = {"prompt": "a", "max_tokens": 1}
    report = http.post("/v1/completions", json=request, headers=headers).headers["endpoint-load-metrics"]
    assert report.startswith(f"{form.upper()} {told}") and "num_requests_waiting" in report
    assert "endpoint-load-metrics" not in http.post("/v1/completions", json=request).headers


def test_accepted_drafts_by_position(tiny_model):
    drafts = '{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 1}'
    with Server(tiny_model, "--speculative-config", drafts) as server:
        request = {"prompt": [5, 6] * 40, "max_tokens": 200, "temperature": 0, "ignore_eos": True}
        assert server.http.post("/v1/completions", json=request).status_code == 200
        server.wait_idle()
        text = server.http.get("/metrics").text
        at = re.findall(r'_accepted_tokens_per_pos_total{.*position="(\d)"} (\S+)$', text, re.MULTILINE)
        accepted = server.metric("spec_decode_num_accepted_tokens_total")
    assert [position for position, _ in at] == ["0", "1", "2"]
    assert sum(float(count) for _, count in at) == accepted > 0


def test_one_path_for_both_kinds_of_completion(http):
    prompt = {"prompt": "a b", "max_tokens": 3, "temperature": 0}
    chat = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 3, "temperature": 0}
    for path, body in (("/v1/completions", prompt), ("/v1/chat/completions", chat)):
        first, second = (http.post(where, json=body).json() for where in (path, "/invocations"))
        assert first["choices"] == second["choices"]
    assert http.post("/invocations", json={"input": "a"}).status_code == 400


def test_histograms_are_cumulative(http):
    text = http.get("/metrics").text
    counts = [float(v) for v in re.findall(r"^vllm:time_to_first_token_seconds_bucket{.*} (\S+)$", text, re.MULTILINE)]
    assert counts == sorted(counts) and counts[-1] >= 1


def test_load_is_zero_when_idle(http):
    assert http.get("/load").json() == {"server_load": 0}


def test_prefix_cache_can_be_forgotten(http):
    prompt = {"prompt": [9] * 200, "max_tokens": 1}
    http.post("/v1/completions", json=prompt)
    assert http.post("/reset_prefix_cache").json() == {"success": True}
    usage = http.post("/v1/completions", json=prompt).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
