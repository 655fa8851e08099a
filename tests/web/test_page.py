"""The page in a browser, on a real server."""

import json
from pathlib import Path

import pytest

from support.browser import Page
from support.server import Server

NARROW = (360, 700)
RECORD_LENGTHS = """
    window.lengths = [];
    const note = () => lengths.push(document.querySelector(".message.assistant .body")?.textContent.length ?? 0);
    new MutationObserver(note).observe(document.getElementById("messages"), { childList: true, subtree: true });
"""


def set_value(page: Page, css: str, value: str) -> None:
    """Fills a field of the settings, which are folded away."""
    page.run("document.getElementById('settings').open = true")
    page.element(css).clear()
    page.element(css).send_keys(value)


def test_a_message_is_answered_as_it_streams(page: Page, server: Server) -> None:
    page.wait(lambda p: p.text("#model").startswith("endless"), "the model's name")
    set_value(page, "#max-tokens", "600")
    page.run(RECORD_LENGTHS)
    page.send("hello")
    text = page.wait_answered()
    assert len(text) == 600
    lengths = page.run("return window.lengths")
    assert len(lengths) > 3 and lengths == sorted(lengths), "the answer came in one piece"
    assert page.text(".message.user .body") == "hello"
    assert "600 tokens" in page.text(".note")
    assert "cut off at the token limit" in page.text(".note")
    assert page.console() == []
    assert page.outside_requests() == []


def test_stop_keeps_what_there_is_and_frees_the_request(page: Page, server: Server) -> None:
    page.send("go on and on")
    page.wait(lambda p: p.elements(".message.assistant .body > p"), "the first words")
    page.element("#stop").click()
    assert page.wait_answered()
    assert "stopped" in page.text(".note")
    assert not page.elements(".error")
    server.wait_idle()
    set_value(page, "#max-tokens", "5")
    page.send("and again")
    page.wait(lambda p: len(p.elements(".note")) == 2, "a second answer")
    assert page.console() == []


def test_figures_follow_the_engine(page: Page) -> None:
    before = page.number("#generated")
    page.send("count")
    page.wait(lambda p: p.number("#running") == 1, "a running request")
    page.wait(lambda p: p.number("#rate") > 0, "a rate above zero")
    page.wait(lambda p: p.number("#cache") > 0, "a cache in use")
    assert page.number("#generated") > before
    assert len(page.element("#rate-line polyline").get_attribute("points").split()) == 60
    page.element("#stop").click()
    page.wait(lambda p: p.number("#running") == 0, "an idle engine")


def test_conversation_and_settings_are_sent(page: Page) -> None:
    page.run(
        "window.bodies = []; const real = fetch;"
        "window.fetch = (a, o) => { if (o?.body) bodies.push(o.body); return real(a, o); }"
    )
    set_value(page, "#system", "Be brief.")
    set_value(page, "#temperature", "0.5")
    set_value(page, "#max-tokens", "3")
    page.send("one")
    page.wait(lambda p: len(p.elements(".note")) == 1, "the first answer")
    first = page.text(".message.assistant .body")
    page.send("two")
    page.wait(lambda p: len(p.elements(".note")) == 2, "the second answer")
    body = json.loads(page.run("return bodies.at(-1)"))
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "two"},
    ]
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0.5, 3, "endless")
    page.element("#new-chat").click()
    assert not page.elements(".message")
    assert page.element("#welcome").is_displayed()


def test_a_refusal_is_shown_and_can_be_tried_again(page: Page) -> None:
    set_value(page, "#max-tokens", "999999")
    page.send("too much")
    page.wait(lambda p: p.elements(".error"), "an error")
    assert "999999" in page.text(".error span")
    set_value(page, "#max-tokens", "2")
    page.element(".error button").click()
    page.wait(lambda p: p.elements(".note"), "an answer")
    assert not page.elements(".error")


def test_model_text_never_becomes_markup(page: Page) -> None:
    text = (
        "<img src=x onerror=alert(1)> **bold** `a<b>c` [x](javascript:alert(1)) [y](https://a.example/)\n"
        "```\n<b>\n```\n- one\n- two"
    )
    script = """
        const done = arguments[1];
        import(new URL("web/markdown.js", location).href).then(({ render }) => {
          const box = document.createElement("div");
          box.append(render(arguments[0]));
          done({ names: [...box.querySelectorAll("*")].map((e) => e.localName), text: box.textContent,
                 links: [...box.querySelectorAll("a")].map((e) => e.href) });
        });"""
    shown = page.driver.execute_async_script(script, text)
    assert set(shown["names"]) <= {"p", "strong", "code", "a", "div", "pre", "button", "ul", "li", "br"}
    assert "<img src=x onerror=alert(1)>" in shown["text"]
    assert shown["links"] == ["https://a.example/"]
    assert shown["names"].count("li") == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("```py\na = 1\n```\nb", ["div:a = 1Copy", "p:b"]),
        ("Run\n```SELECT 1;```\nthen **that**", ["p:RunSELECT 1;then that"]),
        ("````\n```\nx\n```\n````\nb", ["div:```\nx\n```Copy", "p:b"]),
        ("```\nstill coming", ["div:still comingCopy"]),
    ],
)
def test_code_blocks(page: Page, text: str, shown: list[str]) -> None:
    script = """
        const done = arguments[1];
        import(new URL("web/markdown.js", location).href).then(({ render }) =>
          done([...render(arguments[0]).children].map((e) => `${e.localName}:${e.textContent}`)));"""
    assert page.driver.execute_async_script(script, text) == shown


def test_a_key_is_asked_for_and_remembered(endless_model: Path) -> None:
    with Server(endless_model, "--api-key", "secret") as server, Page(server.url) as page:
        page.wait(lambda p: p.element("#key-form").is_displayed(), "the key's field")
        page.element("#api-key").send_keys("wrong\n")
        page.wait(lambda p: p.element("#api-key").get_attribute("value") == "", "the key taken")
        page.send("hello")
        page.wait(lambda p: p.elements(".error"), "an error")
        assert "key" in page.text(".error span")
        set_value(page, "#max-tokens", "3")
        page.element("#api-key").send_keys("secret\n")
        page.wait(lambda p: p.elements(".note"), "an answer to the same message")
        assert not page.element("#key-form").is_displayed()
        page.driver.refresh()
        page.wait(lambda p: "tokens of context" in p.text("#model"), "the model's name with the remembered key")


def test_a_server_that_dies_is_reported(endless_model: Path) -> None:
    with Server(endless_model) as server, Page(server.url) as page:
        page.send("hello")
        page.wait(lambda p: p.elements(".message.assistant .body > p"), "the first words")
        children = server.core
        server.process.kill()
        children.kill()
        page.wait(lambda p: p.elements(".error"), "an error")
        assert "connection" in page.text(".error span")
        page.wait(lambda p: p.text("#engine") == "server unreachable", "the badge")
        page.send("still there?")
        page.wait(lambda p: len(p.elements(".error")) == 2, "a second error")
        assert "cannot be reached" in page.elements(".error span")[1].text


def test_an_engine_that_dies_is_reported_and_comes_back(endless_model: Path) -> None:
    with Server(endless_model) as server, Page(server.url) as page:
        page.send("hello")
        page.wait(lambda p: p.elements(".message.assistant .body > p"), "the first words")
        server.core.kill()
        page.wait(lambda p: p.elements(".error"), "an error")
        assert "engine" in page.text(".error span")
        page.wait(lambda p: server.http.get("/health").status_code == 200, "the engine's return")
        page.wait(lambda p: p.text("#engine") == "ready", "the badge")
        set_value(page, "#max-tokens", "3")
        page.element(".error button").click()
        page.wait(lambda p: p.elements(".note"), "an answer")


def test_it_fits_a_phone_and_every_field_has_a_label(server: Server) -> None:
    with Page(server.url, *NARROW) as page:
        set_value(page, "#max-tokens", "50")
        page.send("hello " * 20)
        page.wait_answered()
        assert page.run("return document.documentElement.scrollWidth") <= NARROW[0]
        for css in ("#prompt", "#send", "#new-chat", "#rate", "#cache"):
            assert page.element(css).is_displayed()
        unnamed = "return [...document.querySelectorAll('input, textarea')].filter((e) => !e.labels.length).length"
        assert page.run(unnamed) == 0


def test_the_demo_model_answers_with_a_sentence(demo_server: Server) -> None:
    with Page(demo_server.url) as page:
        page.element(".suggestions button").click()
        answer = page.wait_answered()
        assert "vllm" in answer
        assert answer.endswith(".")
        page.wait(
            lambda p: p.text("#announce") or p.run("return document.getElementById('announce').textContent"),
            "the announcement",
        )
        assert page.console() == []
        assert page.outside_requests() == []
