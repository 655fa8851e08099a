"""What `vllm serve` can be told about its HTTP side. No web framework is imported here."""

import argparse
import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from vllm import envs
from vllm.chat_content import FORMATS
from vllm.engine.arg_types import json_object
from vllm.engine.switch import Switch

# Of ssl.VerifyMode, whose module would take a tenth of the time of --help.
_NOT_ASKED_FOR, _REQUIRED = 0, 2
_LOG_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")


@dataclass(frozen=True)
class ServerSettings:
    """The HTTP server's settings; fields are flags, with dashes for underscores."""

    host: str = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    api_key: list[str] = field(default_factory=list)
    root_path: str = ""
    allowed_origins: list[str] = field(default_factory=list)
    allowed_methods: list[str] = field(default_factory=lambda: ["*"])
    allowed_headers: list[str] = field(default_factory=lambda: ["*"])
    allow_credentials: bool = False
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_ca_certs: str | None = None
    ssl_cert_reqs: int | None = None
    uvicorn_log_level: str = "warning"
    disable_uvicorn_access_log: bool = False
    shutdown_timeout: float | None = None
    enable_log_requests: bool = False
    disable_log_stats: bool = False
    chat_template: str | None = None
    chat_template_content_format: str = "auto"
    trust_request_chat_template: bool = False
    response_role: str = "assistant"
    return_tokens_as_token_ids: bool = False
    enable_force_include_usage: bool = False
    enable_prompt_tokens_details: bool = False
    enable_request_id_headers: bool = False
    enable_tokenizer_info_endpoint: bool = False
    disable_fastapi_docs: bool = False
    default_chat_template_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def client_certificates(self) -> int:
        """An ssl.VerifyMode; where nothing is said, required if there are authorities to check them by."""
        if self.ssl_cert_reqs is None:
            return _NOT_ASKED_FOR if self.ssl_ca_certs is None else _REQUIRED
        return self.ssl_cert_reqs

    @classmethod
    def from_cli_args(cls, args: argparse.Namespace) -> "ServerSettings":
        """From a parsed command line, and VLLM_API_KEY."""
        names = {f.name for f in dataclasses.fields(cls)}
        values = {k: v for k, v in vars(args).items() if k in names}
        keys = list(values.get("api_key", []))
        if not keys and envs.VLLM_API_KEY:
            keys = [envs.VLLM_API_KEY]
        return cls(**values | {"api_key": keys})


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """Adds a flag a field; absent flags leave no trace in the namespace."""
    _add_network_flags(parser.add_argument_group("network"))
    _add_access_flags(parser.add_argument_group("access"))
    _add_answer_flags(parser.add_argument_group("answers"))
    _add_logging_flags(parser.add_argument_group("logging"))


_SWITCH = {"action": Switch}


def _add(group, flag: str, help_text: str, **options) -> None:
    group.add_argument(flag, help=help_text, **{"default": argparse.SUPPRESS} | options)


def _add_network_flags(group) -> None:
    _add(group, "--host", "address to listen on (default 127.0.0.1; 0.0.0.0 for all interfaces)")
    _add(group, "--port", "port (default 8000; 0 picks a free one)", type=_port, metavar="PORT")
    _add(group, "--uds", "Unix socket to listen on, in place of host and port", metavar="PATH")
    _add(group, "--root-path", "path prefix of requests, which a reverse proxy may strip", metavar="PATH")
    _add(group, "--ssl-keyfile", "TLS private key", metavar="FILE")
    _add(group, "--ssl-certfile", "TLS certificate", metavar="FILE")
    _add(group, "--ssl-ca-certs", "authorities that sign client certificates, which are required then", metavar="FILE")
    _add(
        group,
        "--ssl-cert-reqs",
        "client certificates are 0 not asked for, 1 checked where there is one, 2 required",
        type=int,
        choices=range(3),
    )
    _add(
        group,
        "--shutdown-timeout",
        "seconds that running requests get after the first interrupt (default: until they end)",
        type=_seconds,
        metavar="S",
    )


def _add_access_flags(group) -> None:
    _add(
        group,
        "--api-key",
        "keys that are accepted as bearer tokens; VLLM_API_KEY without this",
        nargs="+",
        action="extend",
        metavar="KEY",
    )
    _add(group, "--allowed-origins", "origins whose pages may call from a browser (default none; * for all)", **_WORDS)
    _add(group, "--allowed-methods", "methods that they may use (default *)", **_WORDS)
    _add(group, "--allowed-headers", "headers that they may send (default *)", **_WORDS)
    _add(group, "--allow-credentials", "let them send cookies", **_SWITCH)


def _add_answer_flags(group) -> None:
    _add(group, "--chat-template", "file with a chat template, or the template itself", metavar="FILE")
    _add(
        group,
        "--chat-template-content-format",
        "give templates text as a string or as OpenAI's list of parts (auto: as it comes, where they take that)",
        choices=FORMATS,
    )
    _add(
        group,
        "--default-chat-template-kwargs",
        "JSON: arguments of the chat template, for requests that do not give these",
        type=json_object,
        metavar="JSON",
    )
    _add(group, "--trust-request-chat-template", "let requests bring their own chat template", **_SWITCH)
    _add(group, "--response-role", "role of the answer in a chat (default assistant)", metavar="ROLE")
    _add(group, "--return-tokens-as-token-ids", "name tokens in logprobs as token_id:ID", **_SWITCH)
    _add(group, "--enable-force-include-usage", "every event of a stream has the usage, and its end", **_SWITCH)
    _add(group, "--enable-prompt-tokens-details", "usage says how much of the prompt was cached", **_SWITCH)
    _add(
        group,
        "--enable-request-id-headers",
        "give each response an X-Request-Id, its request's if it has one",
        **_SWITCH,
    )
    _add(group, "--enable-tokenizer-info-endpoint", "tell at /tokenizer_info how the tokenizer is set up", **_SWITCH)
    _add(group, "--disable-fastapi-docs", "do not describe the interface at /openapi.json", **_SWITCH)
    _add(group, "--enable-server-load-tracking", "accepted; /load always tells", **_SWITCH)


def _add_logging_flags(group) -> None:
    _add(group, "--uvicorn-log-level", "what the HTTP server logs (default warning)", choices=_LOG_LEVELS)
    _add(group, "--disable-uvicorn-access-log", "no line a request, at any level", **_SWITCH)


class _JsonOrWords(argparse.Action):
    """Several words, or one JSON list as vLLM takes it."""

    def __call__(self, parser, namespace, values, option_string=None):
        if len(values) == 1 and values[0].startswith("["):
            try:
                values = json.loads(values[0])
            except ValueError:
                parser.error(f"{option_string}: {values[0]!r} is not a JSON list")
        setattr(namespace, self.dest, values)


_WORDS = {"nargs": "+", "action": _JsonOrWords, "metavar": "WORD"}


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0")
    return value
