"""What the scripts in Python know of the service: its address, and a token of a login."""

import json
import os
import urllib.request

ISSUER = os.environ["INTEROP_ISSUER"]
AUDIENCE = os.environ["INTEROP_AUDIENCE"]
SECRET = os.environ["INTEROP_SECRET"]
CREDENTIALS = {"username": "admin", "password": os.environ["INTEROP_PASSWORD"]}


def get(url):
    with urllib.request.urlopen(url) as response:
        return json.load(response)


def configuration():
    return get(f"{ISSUER}/.well-known/openid-configuration")


def login():
    request = urllib.request.Request(
        f"{ISSUER}/login",
        data=json.dumps(CREDENTIALS).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["token"]
