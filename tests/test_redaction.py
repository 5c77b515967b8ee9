"""Which texts, names and files are secrets, and which only look like them."""

from __future__ import annotations

import pytest

from flor_ray import redaction
from flor_ray.errors import FlorError, FlorWarning
from flor_ray.redaction import command_line, hide, is_secret_file, is_secret_name, redacted, restored, shown

WORD = "zQ7" + "x9Kp" * 6  # of no shape

SHAPES = [
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2_" * 9,
    "glpat-" + "a1B2" * 5,
    "sk-" + "a1B2" * 6,
    "sk-ant-api03-" + "a1B2" * 6,
    "sk_live_" + "a1B2" * 6,
    "hf_" + "abCD" * 9,
    "xoxb-" + "12345-" * 4 + "abc",
    "AIza" + "a1B2" * 9,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE" + "a1B2" * 20 + "\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMIIE" + "a1B2" * 20,
]


@pytest.mark.parametrize("secret", SHAPES)
@pytest.mark.parametrize("around", ["{}", "it says {} there", "--x={}", '"{}"', "https://h/x?a={}&b=1"])
def test_a_secret_is_known_by_its_shape(secret: str, around: str) -> None:
    found = redacted(around.format(secret))
    assert "***" in found
    assert secret[6:] not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://me:word@host/db", "postgres://***@host/db"),
        ("s3://KEYID:word@bucket/path", "s3://***@bucket/path"),
        ("https://host/x?api_key=abc&size=3", "https://host/x?api_key=***&size=3"),
        (
            '"http://host/bucket%3Fsize=3%26secret_key%3Da%2Fb%26x"',
            '"http://host/bucket%3Fsize=3%26secret_key%3D***%26x"',
        ),
        ("https://host/x?X-Amz-Signature=abc", "https://host/x?X-Amz-Signature=***"),
        ("--api-key=abc --lr=3", "--api-key=*** --lr=3"),
        ("password: abc, lr: 3", "password: ***, lr: 3"),
        ("{'token': 'abc', 'lr': 3}", "{'token': '***', 'lr': 3}"),
        ('{"hf_token": "abc"}', '{"hf_token": "***"}'),
        ("aws_secret_access_key = abc", "aws_secret_access_key = ***"),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwxyz", "Authorization: *** ***"),
    ],
)
def test_a_secret_is_known_by_what_stands_before_it(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("s3://bucket/prefix", "http://host:8080/x", "s3://bucket/a@b", "git@github.com:me/x.git"),
        *(
            "lr=0.1 epochs=3",
            "pad_token=<pad>",
            "max_tokens=512",
            "key=value",
            "sort_key: loss",
            "author=me",
            "sk-learn",
        ),
        *("tokenizer=gpt2", "num_tokens: 7", "password=None", "/home/me/.flor", "version a1b2c3d4", "sketch_16_layers"),
        "Cannot read experiments/digits in /tmp/store: PermissionError: [Errno 13]",
    ],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "api_key",
            "apiKey",
            "API-KEY",
            "openai.api_key",
            "HF_TOKEN",
            "token",
            "access_token",
            "db_password",
            "passwd",
        ),
        *("aws_secret_access_key", "AWS_ACCESS_KEY_ID", "client_secret", "credentials", "private_key", "auth.token"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert hide(name, "abc") == "***"
    assert hide(name, 512) == 512
    assert hide("config", {"a": [{name: "abc", "lr": 0.1}]}) == {"a": [{name: "***", "lr": 0.1}]}


@pytest.mark.parametrize(
    "name", ["max_tokens", "tokenizer", "pad_token", "eosToken", "key", "keys", "authors", "lr", "secretary", "n_keys"]
)
def test_names_of_others(name: str) -> None:
    assert not is_secret_name(name)
    value = {"a": ["abc"]}
    assert hide(name, value) is value


def test_a_command_line_comes_back_with_the_replays_own_secrets() -> None:
    words = [
        "train.py",
        "--api-key",
        WORD,
        "--lr",
        "3",
        f"--password={WORD}",
        f"db=postgres://me:{WORD}@h/x",
        "--token",
    ]
    kept, places = command_line(words)
    assert WORD not in " ".join(kept)
    assert kept[:5] == ("train.py", "--api-key", "***", "--lr", "3")
    environment = {"API_KEY": WORD, "PASSWORD": WORD, "FLOR_ARGV_7": words[6]}
    assert restored(kept, places, environment) == (words, [])
    assert restored(kept, places, {"API_KEY": "x"})[1] == ["PASSWORD", "FLOR_ARGV_7"]


@pytest.mark.parametrize(
    "path", [".env", "a/.env.local", "prod.env", "keys/server.pem", "id_rsa", ".aws/config", "x/.ssh/known", ".netrc"]
)
def test_files_of_secrets(path: str) -> None:
    assert is_secret_file(path)


@pytest.mark.parametrize("path", ["train.py", ".env.example", "environment.yml", "keys.py", "env/x.py", "id_rsa.pub"])
def test_files_of_others(path: str) -> None:
    assert not is_secret_file(path)


def test_the_user_changes_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(redaction.VARIABLE, "tenant, -api_key, -.env, *.vault")
    assert is_secret_name("tenant")
    assert not is_secret_name("api_key")
    assert is_secret_file("a.vault")
    assert not is_secret_file(".env")
    monkeypatch.setenv(redaction.VARIABLE, "off")
    assert redacted("password=abc") == "password=abc"
    assert not is_secret_file("id_rsa")


def test_errors_and_warnings_say_no_secret_and_no_escape_code() -> None:
    said = f"Cannot read s3://me:{WORD}@bucket/x: \x1b[31mred\x1b]0;t\x07 \u202egnp\nnext\tline"
    for kind in (FlorError, FlorWarning):
        assert str(kind(said)) == r"Cannot read s3://***@bucket/x: \x1b[31mred\x1b]0;t\x07 \u202egnp" + "\nnext\tline"
