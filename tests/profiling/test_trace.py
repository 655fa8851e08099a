"""A profiled step: its spans, the page that a browser shows, and the trace-event JSON in it."""

import json
from pathlib import Path

import pytest

from support.browser import Page
from support.static_server import serving
from support.tiny_model import LAYERS
from vllm import LLM, SamplingParams
from vllm.profiling.page import trace_page
from vllm.profiling.step_profile import profile_steps
from vllm.profiling.trace import Recorder, StepTrace, chrome_trace

PROMPTS = [{"prompt_token_ids": list(range(10, 30))} for _ in range(3)]
LAYER_KERNELS = {"qkv_norm_rope_cache", "paged_attention_varlen", "linear_packed", "linear_packed_silu_and_mul"}


@pytest.fixture(scope="module")
def steps(llm: LLM) -> list[StepTrace]:
    return profile_steps(llm.llm_engine, PROMPTS)


def test_one_step_of_each_kind(steps: list[StepTrace]) -> None:
    assert [(step.kind, step.sequences, step.tokens) for step in steps] == [("prefill", 3, 60), ("decode", 3, 3)]


@pytest.mark.parametrize("index", [0, 1])
def test_ops_carry_their_layers_and_phases_are_there(steps: list[StepTrace], index: int) -> None:
    spans = steps[index].spans
    for layer in range(LAYERS):
        inside = [s for s in spans if s.details.get("layer", "").startswith(f"layers.{layer}.")]
        assert {s.name for s in inside} >= LAYER_KERNELS
        attention = [s.details["layer"] for s in inside if s.name == "paged_attention_varlen"]
        assert attention == [f"layers.{layer}.attention.cache"]
        assert f"layers.{layer}" in {s.name for s in spans}
    phases = {"step", "schedule", "build input", "forward", "logits", "sample", "sample_tokens", "process outputs"}
    assert phases <= {s.name for s in spans}
    assert len([s for s in spans if s.name == "detokenise"]) == 3


def test_spans_lie_within_those_around_them(steps: list[StepTrace]) -> None:
    for step in steps:
        ordered = sorted(step.spans, key=lambda s: (s.start, s.depth))
        assert [s.name for s in ordered if s.depth == 0] == ["step"]
        around: list = []
        for span in ordered:
            around = [*around[: span.depth], span]
            outer = around[-2] if span.depth else span
            assert outer.start <= span.start
            assert span.start + span.seconds <= outer.start + outer.seconds + 1e-9


def test_the_engine_is_as_before(llm: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
    before = llm.generate(PROMPTS, params, use_tqdm=False)
    profile_steps(llm.llm_engine, PROMPTS)
    assert not llm.llm_engine.has_unfinished_requests()
    after = llm.generate(PROMPTS, params, use_tqdm=False)
    assert [o.outputs[0].token_ids for o in before] == [o.outputs[0].token_ids for o in after]


def test_trace_events(steps: list[StepTrace]) -> None:
    events = chrome_trace(steps)["traceEvents"]
    complete = [event for event in events if event["ph"] == "X"]
    assert {event["pid"] for event in complete} == {1, 2}
    assert len(complete) == sum(len(step.spans) for step in steps)
    for step, process in zip(steps, (1, 2), strict=True):
        first = next(event for event in complete if event["pid"] == process)
        whole = next(span for span in step.spans if span.name == "step")
        assert (first["name"], first["ts"]) == ("step", 0)
        assert first["dur"] == pytest.approx(1e6 * whole.seconds, abs=0.001)


def test_the_page_in_a_browser(steps: list[StepTrace], tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(trace_page(steps, "a <model>"))
    (tmp_path / "favicon.ico").touch()
    with serving(tmp_path) as url, Page(url) as page:
        assert page.text("h1") == "a <model>"
        assert [e.text.split(",")[0] for e in page.elements("h2")] == ["prefill: 3 sequences", "decode: 3 sequences"]
        assert len(page.elements(".span")) == sum(len(step.spans) for step in steps)
        assert "paged_attention_varlen" in page.text("section table")
        page.run("document.querySelector('.span[title^=\"paged_attention_varlen\"]').click()")
        assert "layer: layers.0.attention" in page.text("#detail") and "s, from " in page.text("#detail")
        narrow = page.run("return document.querySelector('.lane').offsetWidth")
        page.run("const z = document.getElementById('zoom'); z.value = 3; z.dispatchEvent(new Event('input'))")
        assert page.run("return document.querySelector('.lane').offsetWidth") == pytest.approx(8 * narrow, rel=0.02)
        colours = [background(page, scheme) for scheme in ("light", "dark")]
        assert colours == ["rgb(255, 255, 255)", "rgb(21, 21, 21)"]
        page.element("#save").click()
        assert page.console() == []
        assert [a for a in page.outside_requests() if not a.startswith("blob:")] == []


def background(page: Page, scheme: str) -> str:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    return page.run("return getComputedStyle(document.body).backgroundColor")


def test_names_cannot_end_the_script() -> None:
    recorder = Recorder()
    with recorder.span("</script><b>", "kernel", op="x"):
        pass
    page = trace_page([StepTrace("decode", 1, 1, recorder.spans)], "t")
    held = page.partition('type="application/json">')[2].partition("</script>")[0]
    assert json.loads(held)["traceEvents"][1]["name"] == "</script><b>"
