from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from functions.authorizer.keys import Keys, KeysError, SigningKey, dump, generate, load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def _write(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def _jwk(**changes: Any) -> dict[str, Any]:
    key: dict[str, Any] = json.loads(dump([generate()]))["keys"][0]
    return key | changes


def test_keys_come_back_as_they_were_written(file: Path) -> None:
    keys = (generate(), generate())
    assert load(_write(file, dump(keys))) == Keys(keys)


def test_the_first_key_signs_and_all_are_found(file: Path) -> None:
    old, new = generate(), generate()
    keys = load(_write(file, dump([new, old])))
    assert keys.signing == new
    assert [keys.find(old.kid), keys.find(new.kid), keys.find("none")] == [old, new, None]


def test_new_keys_are_never_the_same() -> None:
    assert len({key.secret for key in (generate(), generate())}) == 2
    assert len(generate().secret) == 32


def test_a_changed_file_is_read_again(file: Path) -> None:
    first, second = generate(), generate()
    assert load(_write(file, dump([first]))).signing == first
    _write(file, dump([second]))
    os.utime(file, ns=(0, 1))
    assert load(file).signing == second


def test_an_unchanged_file_is_not_read_again(file: Path) -> None:
    assert load(_write(file, dump([generate()]))) is load(file)


def test_a_key_never_shows_its_secret(file: Path) -> None:
    key = SigningKey("name", b"secret" * 8)
    keys = Keys((key,))
    for shown in (repr(key), str(key), repr(keys), f"{keys}"):
        assert "secret" not in shown
        assert "name" in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_use_is_refused(file: Path, mode: int) -> None:
    _write(file, dump([generate()])).chmod(mode)
    with pytest.raises(KeysError, match=r"keys\.json: .*chmod 600"):
        load(file)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(KeysError, match=r"keys\.json: No such file"):
        load(file)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"keys": []}, "keys: "),
        ({}, "keys: Field required"),
        ({"keys": [_jwk(kty="RSA")]}, r"keys\.0\.kty"),
        ({"keys": [_jwk(alg="none")]}, r"keys\.0\.alg"),
        ({"keys": [_jwk(use="enc")]}, r"keys\.0\.use"),
        ({"keys": [_jwk(kid="a", k="c2hvcnQ")]}, "key a has 5 bytes, at least 32"),
        ({"keys": [_jwk(kid="a", k="%%%")]}, "key a: k is not base64url"),
        ({"keys": [_jwk(kid="a"), _jwk(kid="a")]}, "the same kid"),
    ],
)
def test_what_is_no_set_of_keys_is_named(file: Path, document: dict[str, Any], reason: str) -> None:
    with pytest.raises(KeysError, match=reason) as caught:
        load(_write(file, json.dumps(document)))
    assert str(file) in str(caught.value)


def test_an_error_never_repeats_a_secret(file: Path) -> None:
    for text in ('{"keys": [{"k": "secret-secret"}]}', "secret-secret"):
        with pytest.raises(KeysError) as caught:
            load(_write(file, text))
        assert "secret-secret" not in str(caught.value)


def test_a_credential_of_systemd_may_show_the_mode_of_its_access_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text(dump([generate()]))
    file.chmod(0o440)
    with pytest.raises(KeysError, match="others than its owner"):
        load(file)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert len(load(file).all) == 1
