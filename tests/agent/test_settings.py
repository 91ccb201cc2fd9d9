"""Promises of agent.toml: what is wrong with it is said with file and key, and secrets are not repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.settings import Settings, SettingsError, load

SECRET = "hunter2"

SERVER = '[server]\nurl = "https://pganalytics.example"\ntoken_file = "/etc/pganalytics/token"\n'
TARGET = '[[targets]]\nname = "main"\ndsn = "host=/run/postgresql"\n'


def loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "agent.toml"
    file.write_text(text)
    return load(file)


def test_a_complete_file_is_read(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f'agent_id = "db-1"\n{SERVER}{TARGET}[targets.log]\nfiles = ["/var/log/pg/*.log"]\n')
    assert settings.server is not None
    assert settings.server.url == "https://pganalytics.example"
    assert settings.targets[0].log is not None
    assert settings.spool.max_age_hours == 72


WRONG = {
    "an unknown key": ('agent_id = "a"\nserverr = 1', "serverr: Extra inputs"),
    "an unknown key of a section": (f'agent_id = "a"\n{SERVER}tokenfile = "/x"', "server.tokenfile: Extra inputs"),
    "an unknown key of a target": (f'agent_id = "a"\n{TARGET}host = "x"', "targets[0].host: Extra inputs"),
    "a bad agent_id": ('agent_id = "DB 1"', "agent_id: "),
    "a password": (
        f'agent_id = "a"\n[[targets]]\nname = "m"\ndsn = "host=x password={SECRET}"',
        "targets[0].dsn: a password does not belong here; name a file with passfile=",
    ),
    "a password in a URI": (
        f'agent_id = "a"\n[[targets]]\nname = "m"\ndsn = "postgresql://u:{SECRET}@x/d"',
        "targets[0].dsn: a password does not belong here",
    ),
    "a dsn that is none": (
        f'agent_id = "a"\n[[targets]]\nname = "m"\ndsn = "passwrd={SECRET}"',
        "targets[0].dsn: not a connection string",
    ),
    "a name twice": (f'agent_id = "a"\n{TARGET}{TARGET}', "targets: two are named main"),
    "the host's name": ('agent_id = "a"\n[[targets]]\nname = "host"', "targets[0].name: 'host' stands for the host"),
    "nothing to watch": ('agent_id = "a"\n[host]\nenabled = false', "targets: there is nothing to watch"),
    "a relative pattern": (
        f'agent_id = "a"\n{TARGET}[targets.log]\nfiles = ["log/*.log"]',
        "targets[0].log.files: log/*.log: an absolute path",
    ),
    "a pattern for a folder": (
        f'agent_id = "a"\n{TARGET}[targets.log]\nfiles = ["/var/log/*/x.log"]',
        "targets[0].log.files: /var/log/*/x.log: an absolute path, with patterns in the file's name only",
    ),
    "no log files": (f'agent_id = "a"\n{TARGET}[targets.log]\nfiles = []', "targets[0].log.files: "),
    "a tiny spool": ('agent_id = "a"\n[spool]\nmax_bytes = 1', "spool.max_bytes: "),
    "no age": ('agent_id = "a"\n[spool]\nmax_age_hours = nan', "spool.max_age_hours: "),
    "no bucket": ('agent_id = "a"\n[upload]\ntransport = "s3"', 'upload: bucket: transport = "s3" needs the name'),
    "a bucket that is none": ('agent_id = "a"\n[upload]\ntransport = "s3"\nbucket = "s3://b"', "upload.bucket: "),
    "a bucket behind the server": (
        'agent_id = "a"\n[upload]\nbucket = "batches"',
        'upload: bucket: belongs to transport = "s3"; it is "http"',
    ),
    "a region without a bucket": (
        f'agent_id = "a"\n{SERVER}[upload]\ntransport = "presigned"\nregion = "eu-central-1"',
        'upload: region: belongs to transport = "s3"; it is "presigned"',
    ),
    "an address without a bucket": (
        'agent_id = "a"\n[upload]\nendpoint_url = "https://s3.example"',
        'upload: endpoint_url: belongs to transport = "s3"',
    ),
    "two authorities for one server": (
        'agent_id = "a"\n[upload]\nca_file = "/ca.pem"',
        'upload: ca_file: transport = "http" goes to the server; set server.ca_file',
    ),
    "nobody who signs": (
        'agent_id = "a"\n[upload]\ntransport = "presigned"',
        'upload.transport: "presigned" asks the server for addresses; add [server] with url',
    ),
    "batches in the clear": (
        'agent_id = "a"\n[upload]\ntransport = "s3"\nbucket = "batches"\nendpoint_url = "http://s3.example"',
        "upload.endpoint_url: http:// would send batches in the clear; use https://",
    ),
    "an address without an end": (
        'agent_id = "a"\n[upload]\ntransport = "s3"\nbucket = "batches"\nendpoint_url = "https://[::1"',
        "upload.endpoint_url: Invalid IPv6 URL",
    ),
    "an address with a port that is none": (
        'agent_id = "a"\n[upload]\ntransport = "s3"\nbucket = "batches"\nendpoint_url = "https://s3.example:port"',
        "upload.endpoint_url: Port could not be cast",
    ),
    "credentials in an address": (
        f'agent_id = "a"\n[upload]\ntransport = "s3"\nbucket = "b-1"\nendpoint_url = "https://k:{SECRET}@s3.example"',
        "upload.endpoint_url: ",
    ),
    "another transport": ('agent_id = "a"\n[upload]\ntransport = "ftp"', "upload.transport: Input should be 'http'"),
    "credentials of AWS": (
        f'agent_id = "a"\n[upload]\ntransport = "s3"\nbucket = "b-1"\nsecret_access_key = "{SECRET}"',
        "upload.secret_access_key: Extra inputs",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_with_file_and_key_and_no_secret(tmp_path: Path, what: str) -> None:
    text, expected = WRONG[what]
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/agent.toml: {expected}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://pganalytics.example",
        "http://127.0.0.1.example",
        "http://localhost:80@pganalytics.example",
        "http://localhost@pganalytics.example/",
        "http://127.0.0.2",
        f"https://agent:{SECRET}@pganalytics.example",
        "https://pganalytics.example:https",
        "https://[::1",
        "ftp://pganalytics.example",
        "pganalytics.example",
        "https://",
    ],
)
def test_a_url_that_would_give_the_token_away_or_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="server") as caught:
        loaded(tmp_path, f'agent_id = "a"\n[server]\nurl = "{url}"\ntoken_file = "/t"')
    assert "url: " in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://127.0.0.1", "http://[::1]", "http://[::1]:8000/", "https://x.example/base"]
)
def test_this_host_may_be_spoken_to_in_the_clear(tmp_path: Path, url: str) -> None:
    settings = loaded(tmp_path, f'agent_id = "a"\n[server]\nurl = "{url}"\ntoken_file = "/t"')
    assert settings.server is not None
    assert settings.server.url == url


def test_into_the_bucket_itself_no_server_is_needed(tmp_path: Path) -> None:
    text = 'agent_id = "a"\n[upload]\ntransport = "s3"\nbucket = "b-1"\nendpoint_url = "http://127.0.0.1:8333"'
    settings = loaded(tmp_path, text)
    assert settings.server is None
    assert settings.upload.endpoint_url == "http://127.0.0.1:8333"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "No such file or directory"), (b"agent_id = ", "not TOML: "), (b"\xff\xfe", "not TOML: ")],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, content: bytes | None, expected: str) -> None:
    file = tmp_path / "agent.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: {expected}")


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{tmp_path}: Is a directory"):
        load(tmp_path)
