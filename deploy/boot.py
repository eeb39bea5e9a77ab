"""Where a container starts: hand the secrets over, then become what was asked for.

That is the command given, or Beam's own boot where there are only options, as Dataflow gives them
to a worker. Dataflow gives no environment variables. So each secret that the project keeps is
fetched once, with the machine's own service account, and put into the environment under the name
that the program reads. Outside Google Cloud nothing is fetched. No secret is written or logged.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, MutableMapping

SECRETS = {
    "EARTHDATA_TOKEN": "tessera-earthdata-token",
    "PC_SDK_SUBSCRIPTION_KEY": "tessera-planetary-computer-key",
}
"""Secrets by the environment variable that the program reads."""

BOOT = "/opt/apache/beam/boot"

ATTEMPTS = 4
TIMEOUT = 10.0

METADATA = "http://{host}/computeMetadata/v1/{path}"
ACCESS = "{endpoint}/v1/projects/{project}/secrets/{secret}/versions/latest:access"


def hand_over_secrets(environment: MutableMapping[str, str]) -> list[str]:
    """Put the project's secrets into the environment, where they are not there yet.

    Returns
    -------
    Names of the variables that were set.

    Raises
    ------
    OSError
        If a secret is there and cannot be fetched.
    """
    wanted = {name: secret for name, secret in SECRETS.items() if not environment.get(name)}
    host = environment.get("GCE_METADATA_HOST", "metadata.google.internal")
    endpoint = environment.get("SECRET_MANAGER_ENDPOINT", "https://secretmanager.googleapis.com")
    flavor = {"Metadata-Flavor": "Google"}
    try:
        project = fetch(METADATA.format(host=host, path="project/project-id"), flavor).decode()
        account = METADATA.format(host=host, path="instance/service-accounts/default/token")
        token = json.loads(fetch(account, flavor))["access_token"]
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError:
        print("boot: not on Google Cloud, no secrets handed over", file=sys.stderr)
        return []
    handed = []
    for name, secret in wanted.items():
        address = ACCESS.format(endpoint=endpoint, project=project, secret=secret)
        try:
            answer = json.loads(fetch(address, {"Authorization": f"Bearer {token}"}))
        except urllib.error.HTTPError as error:
            if error.code not in (403, 404):
                raise
            print(f"boot: no secret {secret} for this account ({error.code})", file=sys.stderr)
            continue
        environment[name] = base64.b64decode(answer["payload"]["data"]).decode().strip()
        handed.append(name)
    return handed


def fetch(address: str, headers: Mapping[str, str]) -> bytes:
    """The answer to a request, asked again where the server is at fault."""
    for attempt in range(ATTEMPTS):
        try:
            request = urllib.request.Request(address, headers=dict(headers))
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if (error.code < 500 and error.code != 429) or attempt == ATTEMPTS - 1:
                raise
        time.sleep(2**attempt)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    hand_over_secrets(os.environ)
    given = sys.argv[1:]
    command = [BOOT, *given] if not given or given[0].startswith("-") else given
    os.execvp(command[0], command)
