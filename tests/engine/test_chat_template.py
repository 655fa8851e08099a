"""Chat templates: from conversations to prompts."""

import json

import pytest

from support.conversations import HELLO, TEMPLATE
from support.models import save_tokenizer
from vllm.exceptions import VLLMValidationError
from vllm.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, TEMPLATE)
    return Tokenizer(folder)


DEVELOPERS = [
    {"role": "system", "content": "a"},
    *HELLO,
    {"role": "developer", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (DEVELOPERS, "[system] a\n\nb\nc</s>[user] hello</s>"),
        (DEVELOPERS[:2], "[system] a</s>[user] hello</s>"),
        ([{"role": "developer", "content": "b"}, *HELLO], "[system] b</s>[user] hello</s>"),
        ([*HELLO, {"role": "developer", "content": "b"}], "[system] b</s>[user] hello</s>"),
        ([*HELLO, {"role": "system", "content": "a"}], "[user] hello</s>[system] a</s>"),
    ],
)
def test_developers_are_the_system_to_templates_that_do_not_know_them(tokenizer, messages, expected):
    assert tokenizer.render_chat_template(messages, add_generation_prompt=False) == expected
    knowing = TEMPLATE + "{% if messages[0]['role'] == 'developer' %}!{% endif %}"
    roles = [message["role"] for message in messages]
    text = tokenizer.render_chat_template(messages, add_generation_prompt=False, chat_template=knowing)
    assert [part.partition("]")[0] for part in text.split("[")[1:]] == roles


def test_chat_template(tokenizer):
    assert tokenizer.render_chat_template(HELLO) == "[user] hello</s>[assistant] "
    assert tokenizer.render_chat_template(HELLO, add_generation_prompt=False) == "[user] hello</s>"
    ids = tokenizer.apply_chat_template(HELLO, add_generation_prompt=True)
    assert tokenizer.decode(ids) == "[user] hello</s>[assistant] "
    assert tokenizer.apply_chat_template(HELLO, tokenize=False) == "[user] hello</s>"


def test_continue_final_message(tokenizer):
    messages = [*HELLO, {"role": "assistant", "content": "I am"}]
    text = tokenizer.render_chat_template(messages, add_generation_prompt=False, continue_final_message=True)
    assert text == "[user] hello</s>[assistant] I am"
    with pytest.raises(VLLMValidationError, match="exclude each other"):
        tokenizer.render_chat_template(messages, add_generation_prompt=True, continue_final_message=True)


TRIMMED = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | trim }}<|end|>{% endfor %}"


BY_PART = (
    "{% for m in messages %}<{{ m['role'] }}>{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] }},{% endfor %}{% endfor %}"
)


BOTH = (
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{{ part.text }},{% endfor %}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "content", "expected"),
    [
        (TEMPLATE, "<", "[user] hello</s>[assistant] <"),  # as the end of a message begins
        (TEMPLATE, "I am ", "[user] hello</s>[assistant] I am "),
        (TRIMMED, "hello ", "<user>hello<|end|><assistant>hello"),  # also what an earlier message holds
        (TRIMMED, " ", "<user>hello<|end|><assistant>"),
        (
            "{% for m in messages %}<{{ m['role'] }}>\n\n{{ m['content'] | trim }}|{% endfor %}",
            "",
            "<user>\n\nhello|<assistant>\n\n",
        ),
        (BY_PART, "I", "<user>hello,<assistant>I"),
        (BY_PART, [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "<user>hello,<assistant>a,b"),
    ],
)
def test_where_the_final_message_goes_on(tokenizer, template, content, expected):
    messages = [*HELLO, {"role": "assistant", "content": content}]
    options = {"add_generation_prompt": False, "continue_final_message": True}
    assert tokenizer.render_chat_template(messages, chat_template=template, **options) == expected


@pytest.mark.parametrize(
    ("template", "text", "parts"),
    [
        (TEMPLATE, "[user] hello</s>", "[user] a\nb</s>"),
        (BY_PART, "<user>hello,", "<user>a,b,"),  # which shows nothing of text
        ("{{ messages[0]['content'] | tojson }}", '"hello"', '"a\\nb"'),
        (
            "{{ raise_exception('no') if messages[0]['content'] is not string }}{{ messages[0]['content'] }}",
            "hello",
            "a\nb",
        ),
        (BOTH, "hello", "a,b,"),
        ("{{ bos_token + '!' }}" + BY_PART, "<s>!<user>hello,", "<s>!<user>a,b,"),
        ("always the same", "always the same", "always the same"),
    ],
)
def test_templates_get_content_in_a_form_that_they_take(tokenizer, template, text, parts):
    two = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    options = {"chat_template": template, "add_generation_prompt": False}
    assert tokenizer.render_chat_template(HELLO, **options) == text
    assert tokenizer.render_chat_template([{"role": "user", "content": two}], **options) == parts


def test_the_form_may_depend_on_the_role(tokenizer):
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{% for part in m.content %}<{{ part.text }}>{% endfor %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    two = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "system", "content": two}, *HELLO, {"role": "assistant", "content": "c"}]
    assert tokenizer.render_chat_template(messages, chat_template=template) == "a\nb<hello>c"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ raise_exception('roles must alternate') }}", "refused the messages: roles must alternate"),
        ("{% for %}", "refused the messages: "),
        ("{{ ''.__class__.__mro__ }}", "refused the messages: "),
        ("{{ messages[7]['role'] }}", "refused the messages: "),
    ],
)
def test_template_errors_are_one_line(tokenizer, template, expected):
    with pytest.raises(VLLMValidationError, match=expected) as caught:
        tokenizer.render_chat_template(HELLO, chat_template=template)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ messages | tojson }}", '[{"role": "user", "content": "hello"}]'),
        ("{{ '<é>' | tojson }}", '"<é>"'),
        ("{{ bos_token }}{{ eos_token }}", "<s></s>"),
        ("{% generation %}x{% endgeneration %}", "x"),
        ("{% for m in [1, 2, 3] %}{% if m == 2 %}{% break %}{% endif %}{{ m }}{% endfor %}", "1"),
        ("{{ strftime_now('%%') }}", "%"),
        ("{{ thinking }}", "yes"),
        ("{% if tools %}tools{% else %}none{% endif %}", "none"),
        ("{% if tools is not none or documents is not none %}some{% else %}none{% endif %}", "none"),
    ],
)
def test_what_templates_may_use(tokenizer, template, expected):
    assert tokenizer.render_chat_template(HELLO, chat_template=template, thinking="yes") == expected


def test_any_name_is_a_templates_variable(tokenizer):
    variables = {"template": "a", "variables": "b", "forms": "c", "text": "d"}
    text = tokenizer.render_chat_template(
        HELLO, chat_template="{{ template }}{{ variables }}{{ forms }}{{ text }}", **variables
    )
    assert text == "abcd"


def test_named_templates_and_template_file(tmp_path):
    save_tokenizer(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["chat_template"] = [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.render_chat_template(HELLO) == "d"
    assert tokenizer.render_chat_template(HELLO, tools=[{"type": "function"}]) == "t"
    assert tokenizer.render_chat_template(HELLO, chat_template="tool_use") == "t"
    (tmp_path / "chat_template.jinja").write_text("file")
    assert Tokenizer(tmp_path).render_chat_template(HELLO) == "file"


def test_no_template(tmp_path):
    save_tokenizer(tmp_path)
    with pytest.raises(VLLMValidationError, match="no chat template"):
        Tokenizer(tmp_path).render_chat_template(HELLO)
