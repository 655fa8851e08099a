"""The routes that answer at once: health, version, models, tokens, load, metrics."""

import http

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from vllm.engine.off_the_loop import off_the_loop
from vllm.entrypoints.openai.body import parse_body
from vllm.entrypoints.openai.errors import ApiError
from vllm.entrypoints.openai.messages import render_chat
from vllm.entrypoints.openai.requests import DETOKENIZE_RULES, TOKENIZE_RULES, DetokenizeRequest, TokenizeRequest
from vllm.entrypoints.openai.responses import DetokenizeResponse, ModelCard, ModelList, TokenizeResponse
from vllm.entrypoints.openai.state import ServerState, state_of
from vllm.exceptions import TokenOutOfVocabularyError
from vllm.version import __version__


def json_response(body: object, status: int = http.HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


async def health(request: Request) -> Response:
    """200 while the engine takes requests, 503 with the cause while it does not."""
    await state_of(request).llm.check_health()
    return Response()


async def version(request: Request) -> Response:
    return json_response({"version": __version__})


async def load(request: Request) -> Response:
    """Requests for an answer that are open now."""
    return json_response({"server_load": state_of(request).num_open_requests})


async def list_models(request: Request) -> Response:
    state = state_of(request)
    return json_response(ModelList([_card(name, state) for name in state.model_names]))


async def show_model(request: Request) -> Response:
    state = state_of(request)
    name = request.path_params["name"]
    state.check_model(name)
    return json_response(_card(name, state))


def _card(name: str, state: ServerState) -> ModelCard:
    model = state.llm.config.model_config
    return ModelCard(id=name, created=state.created, root=model.model, max_model_len=model.max_model_len)


async def tokenize(http_request: Request) -> Response:
    state = state_of(http_request)
    request = await parse_body(http_request, TokenizeRequest, TOKENIZE_RULES)
    state.check_model(request.model)
    if (request.prompt is None) == (request.messages is None):
        raise ApiError(400, "give either prompt or messages", param="prompt")
    text = request.prompt if request.messages is None else render_chat(request, state)
    special = request.messages is None if request.add_special_tokens is None else request.add_special_tokens
    tokenizer = state.tokenizer()
    tokens = await off_the_loop(lambda: tokenizer.encode(text, add_special_tokens=special), len(text))
    names = tokenizer.convert_ids_to_tokens(tokens) if request.return_token_strs else None
    return json_response(TokenizeResponse(len(tokens), state.max_model_len, tokens, names))


async def detokenize(http_request: Request) -> Response:
    state = state_of(http_request)
    request = await parse_body(http_request, DetokenizeRequest, DETOKENIZE_RULES)
    state.check_model(request.model)
    size = state.llm.config.model_config.vocab_size
    if (wrong := next((t for t in request.tokens if not 0 <= t < size), None)) is not None:
        raise TokenOutOfVocabularyError(wrong, size, "tokens")
    text = await off_the_loop(lambda: state.tokenizer().decode(request.tokens), len(request.tokens))
    return json_response(DetokenizeResponse(text))


async def tokenizer_info(request: Request) -> Response:
    """tokenizer_config.json's content; a chat template that the server was started with replaces the model's."""
    state = state_of(request)
    tokenizer = state.tokenizer()
    info = {name: _plain_token(value) for name, value in tokenizer.init_kwargs.items()}
    info.setdefault("tokenizer_class", type(tokenizer).__name__)
    if template := state.chat_template or tokenizer.chat_template:
        info["chat_template"] = template
    return json_response(info)


def _plain_token(value: object) -> object:
    """A special token's text, where a file describes it by an object."""
    return value["content"] if isinstance(value, dict) and "content" in value else value


async def reset_prefix_cache(request: Request) -> Response:
    """Without success while requests run: their blocks cannot be dropped."""
    return json_response({"success": await state_of(request).llm.reset_prefix_cache()})
