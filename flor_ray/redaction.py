"""Secrets, and what a terminal would obey: taken out of all that is kept or shown. Pure; knows names and shapes.

    api_key=sk-...                             ─> api_key=***
    postgres://me:word@host/db                 ─> postgres://***@host/db
    --token hf_...   in a command line         ─> --token ***, and the replay asks its environment for TOKEN
    an escape code of a terminal               ─> \\x1b[2J, as text

FLOR_REDACT, a list with commas, changes the rules: `tenant` is a secret's name (or a file's), `-eos_*` is none, and
`off` switches all off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

HIDDEN = "***"
VARIABLE = "FLOR_REDACT"

_NAMES = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|secrets|credential|credentials|authorization|cookie|bearer)(_|$)"
    r"|(^|_)(api|access|secret|private|account|encryption|signing|license|client|auth|master|shared|ssh)_?keys?(_id)?(_|$)"
    r"|(^|_)(apikey|authtoken|accesstoken|connection_string)(_|$)|_pwd$"
)
_TOKEN = re.compile(r"(^|.*_)token$")
# Tokens of texts, which models are told of.
_OF_TEXTS = re.compile(
    r"(^|_)(pad|eos|bos|unk|mask|sep|cls|special|stop|start|end|image|audio|video|prompt|additional|per|class|next|first"
    r"|last|boi|eoi|bot|eot|separator|padding|unknown|system|user|assistant|think|blank|dist|register)_token$"
)
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|hf_|npm_|pypi-|xox[abeoprs]-|dop_v1_|ya29\.|SG\.)[A-Za-z0-9_.-]{16,}"
    r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}"
    r"|\bAIza[0-9A-Za-z_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    re.DOTALL,
)
_USER_IN_URL = re.compile(r"(?<=://)(?:[^/@\s'\"]*:[^/@\s'\"]*|[^/@:\s'\"]{12,})@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/_.=-]{16,}")
_PAIR = re.compile(r"""(?<![\w-])(-{0,2}["']?)([A-Za-z][\w.-]*)(["']?\s*(?:=|:(?!//))\s*["']?)([^\s"',;&)}\]]+)""")
_ENCODED_PAIR = re.compile(
    r"""(?i)(%3f|%26|%3b|[?&;])([a-z][\w.-]*)(%3d)((?:(?!%26|%3b)[^\s"'&;])+)"""
)  # in quoted URLs
_IN_URL = re.compile(r"(?i)^(x-amz-(signature|credential|security-token)|sig|signature)$")
_FILES = (
    *(
        ".env",
        ".env.*",
        "*.env",
        "*.pem",
        "*.key",
        "*.p12",
        "*.pfx",
        "*.jks",
        "*.keystore",
        "*.kdbx",
        "id_rsa",
        "id_dsa",
    ),
    *("id_ecdsa", "id_ed25519", ".netrc", "_netrc", ".pgpass", ".pypirc", ".npmrc", ".git-credentials", ".htpasswd"),
    *("credentials.json", "service_account*.json", "service-account*.json", "client_secret*.json", "kubeconfig"),
)
_FOLDERS = frozenset({".aws", ".ssh", ".gnupg", ".kube", ".azure"})
_NO_SECRETS = (".env.example", ".env.sample", ".env.template", ".env.dist", "*.pub.pem")
# Everything that moves a terminal's cursor or changes the order of what it shows, but for the ends of lines and tabs.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """A text as it may be shown: without secrets, and with nothing in it that a terminal would obey."""
    return plain(redacted(text))


def plain(text: str) -> str:
    """A text in which what a terminal would obey is written out."""
    if text.isprintable():
        return text
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def redacted(text: str) -> str:
    """A text with what looks like a secret, or follows the name of one, hidden."""
    if _rules() is None:
        return text
    found = _USER_IN_URL.sub(f"{HIDDEN}@", _SHAPES.sub(HIDDEN, text))
    found = _BEARER.sub(lambda match: f"{match[1]} {HIDDEN}", found)
    if "%" in found:
        found = _ENCODED_PAIR.sub(lambda match: f"{match[1]}{match[2]}{match[3]}{_instead(match[2], match[4])}", found)
    if "=" not in found and ":" not in found:
        return found
    return _PAIR.sub(lambda match: f"{match[1]}{match[2]}{match[3]}{_instead(match[2], match[4])}", found)


def _instead(name: str, text: str) -> str:
    is_secret = is_secret_name(name) or _IN_URL.match(name) is not None
    return HIDDEN if is_secret and text not in ("None", "null", "True", "False", "true", "false", HIDDEN) else text


def is_secret_name(name: str) -> bool:
    """Whether the value of a variable, an argument or an entry of this name is a secret."""
    rules = _rules()
    if rules is None:
        return False
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).strip("_").lower()
    if any(fnmatchcase(form, rule) for form in (name, words) for rule in rules[1]):
        return False
    if any(fnmatchcase(form, rule) for form in (name, words) for rule in rules[0]):
        return True
    is_token = _TOKEN.match(words) is not None and _OF_TEXTS.search(words) is None
    return is_token or _NAMES.search(words) is not None


def hide(name: str, value: Any) -> Any:
    """A value without secrets: the same object if there is none. Numbers are none, whatever their name is."""
    if isinstance(value, str):
        if is_secret_name(name) and value:
            return HIDDEN
        found = redacted(value)
        return value if found == value else found
    if isinstance(value, bytes):
        return HIDDEN if is_secret_name(name) and value else value
    if isinstance(value, Mapping):
        entries = {key: hide(str(key), item) for key, item in value.items()}
        return entries if any(entries[key] is not item for key, item in value.items()) else value
    if isinstance(value, list | tuple):
        items = [hide(name, item) for item in value]
        if all(item is was for item, was in zip(items, value, strict=True)):
            return value
        return items if isinstance(value, list) else tuple(items)
    return value


def command_line(words: Sequence[str]) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """A command line without its secrets; and of each place that had one, the variable of a replay's environment that
    has to hold it, and what stands before it."""
    kept: list[str] = []
    places: dict[str, list[str]] = {}
    name = ""  # of the option whose value comes next
    for index, word in enumerate(words):
        option, equals, value = word.partition("=")
        if name and not word.startswith("--"):
            kept.append(HIDDEN)
            places[str(index)] = [variable_of(name), ""]
        elif equals and value and is_secret_name(option.lstrip("-")):
            kept.append(f"{option}={HIDDEN}")
            places[str(index)] = [variable_of(option), f"{option}="]
        elif (found := redacted(word)) != word:
            kept.append(found)
            places[str(index)] = [f"FLOR_ARGV_{index + 1}", ""]
        else:
            kept.append(word)
        name = word if word.startswith("-") and not equals and is_secret_name(word.lstrip("-")) else ""
    return tuple(kept), places


def restored(
    words: Sequence[str], places: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """The command line again, with the secrets that an environment holds; and the variables that it lacks."""
    found, lacking = list(words), []
    for index, (variable, before) in places.items():
        if variable in environment:
            found[int(index)] = f"{before}{environment[variable]}"
        else:
            lacking.append(variable)
    return found, lacking


def variable_of(name: str) -> str:
    """The variable of a replay's environment that holds the secret of an option or an argument."""
    return re.sub(r"[^A-Z0-9]+", "_", name.lstrip("-").upper()).strip("_") or "SECRET"


def is_secret_file(path: str) -> bool:
    """Whether a file, by its path, is one that holds secrets."""
    rules = _rules()
    if rules is None:
        return False
    *folders, name = path.split("/")
    if any(fnmatchcase(form, rule) for form in (name, path) for rule in (*rules[1], *_NO_SECRETS)):
        return False
    if any(fnmatchcase(form, rule) for form in (name, path) for rule in (*rules[0], *_FILES)):
        return True
    return not _FOLDERS.isdisjoint(folders)


def _rules() -> tuple[list[str], list[str]] | None:
    """Patterns of what is secret, and of what is not, besides ours; None: nothing is."""
    told = os.environ.get(VARIABLE)
    if not told:
        return [], []
    words = [word.strip() for word in told.split(",") if word.strip()]
    if "off" in words:
        return None
    return [w for w in words if not w.startswith("-")], [w[1:] for w in words if w.startswith("-")]
