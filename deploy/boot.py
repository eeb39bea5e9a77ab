"""Where a container starts: hand the secrets over, then become what was asked for.

That is the command given, or Beam's own boot where there are only options, as Dataflow gives them
to a worker. Dataflow gives no environment variables. So each secret that the project keeps and
that is not there yet is fetched once, with the machine's own service account, and put into the
environment under the name that the program reads. Outside Google Cloud nothing is fetched; with
`NO_GCE_CHECK=true` nothing is asked. No secret is written or logged.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import pwd
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, MutableMapping
from urllib.request import OpenerDirector, ProxyHandler, build_opener

SECRETS = {
    "EARTHDATA_TOKEN": "tessera-earthdata-token",
    "PC_SDK_SUBSCRIPTION_KEY": "tessera-planetary-computer-key",
}
"""Secrets by the environment variable that the program reads."""

BOOT = "/opt/apache/beam/boot"

PAUSES = 0.5, 1.0, 2.0
"""Seconds between the attempts at a request."""

TIMEOUT = 10.0
LARGEST = 1 << 20
"""Bytes of an answer that are read."""

FLAVOR = {"Metadata-Flavor": "Google"}
"""What a request to the metadata server has to say, and every answer of it says."""

METADATA = "http://{host}/computeMetadata/v1/{path}"
ACCESS = "{endpoint}/v1/projects/{project}/secrets/{secret}/versions/latest:access"

Sleep = Callable[[float], None]


class NotOnGoogleCloud(Exception):
    """No metadata server of Google's answers."""


def hand_over_secrets(
    environment: MutableMapping[str, str], sleep: Sleep = time.sleep
) -> list[str]:
    """Put the project's secrets into the environment, where they are not there yet.

    Returns
    -------
    Names of the variables that were set.

    Raises
    ------
    OSError
        If the machine is one of Google Cloud's, and a secret cannot be fetched.
    """
    wanted = {name: secret for name, secret in SECRETS.items() if not environment.get(name)}
    if not wanted or environment.get("NO_GCE_CHECK", "").lower() == "true":
        return []
    host = environment.get("GCE_METADATA_HOST", "metadata.google.internal")
    endpoint = environment.get("SECRET_MANAGER_ENDPOINT", "https://secretmanager.googleapis.com")
    try:
        project = ask_metadata(host, "project/project-id", sleep).decode()
        account = ask_metadata(host, "instance/service-accounts/default/token", sleep)
    except NotOnGoogleCloud as reason:
        print(f"boot: not on Google Cloud ({reason}), no secrets handed over", file=sys.stderr)
        return []
    allowed = {"Authorization": f"Bearer {field(account, 'access_token')}"}
    handed = []
    for name, secret in wanted.items():
        address = ACCESS.format(endpoint=endpoint, project=project, secret=secret)
        try:
            answer = fetch(build_opener(), address, allowed, sleep)
        except urllib.error.HTTPError as error:
            if error.code not in (403, 404):
                raise
            print(f"boot: no secret {secret} for this account ({error.code})", file=sys.stderr)
            continue
        environment[name] = base64.b64decode(field(answer, "payload", "data")).decode().strip()
        handed.append(name)
    return handed


def ask_metadata(host: str, path: str, sleep: Sleep) -> bytes:
    """What the metadata server says, asked without a proxy.

    Raises
    ------
    NotOnGoogleCloud
        If nobody answers, or somebody else.
    """
    address = METADATA.format(host=host, path=path)
    try:
        return fetch(build_opener(ProxyHandler({}), OnlyFlavored()), address, FLAVOR, sleep)
    except urllib.error.HTTPError:
        raise
    except OSError as error:
        raise NotOnGoogleCloud(getattr(error, "reason", error)) from None


class OnlyFlavored(urllib.request.BaseHandler):
    """Takes answers of the metadata server alone, whatever their status."""

    handler_order = 100  # before what makes errors of a status

    def http_response(
        self, request: urllib.request.Request, answer: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        """The answer, if it is the metadata server's."""
        if answer.headers.get("Metadata-Flavor") != "Google":
            raise NotOnGoogleCloud(f"something else answers, with {answer.status}")
        return answer


def fetch(opener: OpenerDirector, address: str, headers: Mapping[str, str], sleep: Sleep) -> bytes:
    """The answer to a request, asked again where the server or the connection is at fault."""
    for pause in (*PAUSES, None):
        try:
            request = urllib.request.Request(address, headers=dict(headers))
            with opener.open(request, timeout=TIMEOUT) as answer:
                return answer.read(LARGEST)
        except urllib.error.HTTPError as error:
            if pause is None or (error.code < 500 and error.code != 429):
                raise
        except http.client.HTTPException as error:
            if pause is None:
                raise ConnectionError(f"the answer broke off: {error}") from None
        except OSError:
            if pause is None:
                raise
        sleep(pause)
    raise AssertionError("unreachable")


def field(answer: bytes, *names: str) -> str:
    """A text of a JSON answer."""
    try:
        found = json.loads(answer)
        for name in names:
            found = found[name]
        return str(found)
    except (ValueError, KeyError, TypeError):
        raise OSError(f"an answer has no {'.'.join(names)}") from None


def settle(environment: MutableMapping[str, str]) -> None:
    """Find a place for what is written as a worker starts, whoever runs the container.

    Beam's boot writes the job's options into the working directory, and PyTorch keeps compiled
    kernels below the home and under the user's name.

    Raises
    ------
    OSError
        If there is no folder that can be written to.
    """
    if not os.access(".", os.W_OK):
        os.chdir(tempfile.gettempdir())
    if not os.access(environment.get("HOME", "/"), os.W_OK):
        environment["HOME"] = tempfile.gettempdir()
    if not has_name():
        environment.setdefault("USER", "tessera")


def has_name() -> bool:
    """Whether the user stands in /etc/passwd."""
    try:
        return bool(pwd.getpwuid(os.getuid()))
    except KeyError:
        return False


def main() -> None:
    """Become what was asked for."""
    given = sys.argv[1:]
    command = [BOOT, *given] if not given or given[0].startswith("-") else given
    if command[0] == BOOT and not has_name():
        who = f"user {os.getuid()} does not stand in /etc/passwd, where Beam's boot looks him up"
        sys.exit(f"boot: {who}: run workers as 10001 or 0")
    try:
        hand_over_secrets(os.environ)
        settle(os.environ)
    except OSError as error:
        sys.exit(f"boot: {error}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
