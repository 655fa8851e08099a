"""A conversation, and a template that shows what became of it."""

TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
HELLO = [{"role": "user", "content": "hello"}]
