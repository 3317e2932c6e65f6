"""The emulator held against the contract by a reader who did not write it: what its other tests leave open.

Named after the contract's section. Traps of section 15: `test_emulator_traps.py`.
"""

from __future__ import annotations

import json

import pytest

from tests.shell_support import staged

# -- 3: batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [
    b'{"requests":[{"id":"1","method":"GET","url":"/me","headers":[1]}]}',
    b'{"requests":[{"id":"1","method":"GET","url":"/me","headers":"x"}]}',
    b'{"requests":[{"id":"1","method":"GET","url":"/me","dependsOn":{"a":1}}]}',
    b'{"requests":{"id":"1"}}',
    b"[" * 100_000,
    b"\xff\xfe",
    b"",
])  # fmt: skip
async def test_3_no_batch_body_breaks_the_server(body):
    async with staged() as s:
        headers = {**s.bearer, "Content-Type": "application/json"}
        answer = await s.http.post("/v1.0/$batch", content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


async def test_3_a_batch_is_json_and_says_so():
    async with staged() as s:
        body = json.dumps({"requests": [{"id": "1", "method": "GET", "url": "/me"}]}).encode()
        assert (await s.http.post("/v1.0/$batch", content=body, headers=s.bearer)).status_code == 400
        text = {**s.bearer, "Content-Type": "text/plain"}
        assert (await s.http.post("/v1.0/$batch", content=body, headers=text)).status_code == 415
