"""Payload encryption: what Temporal stores of a workflow's inputs, results, failures and summaries is ciphertext.

Keys are global and rotated: the newest one encrypts, and the key id in a payload's metadata says which one decrypts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from adapters.settings import NamedKey

ENCODING = b"binary/encrypted"
KEY_ID_FIELD = "encryption-key-id"
NONCE_BYTES = 12
"""96 random bits, as NIST SP 800-38D asks of GCM: one key is good for 2**32 payloads, then it must be rotated."""


class CodecError(Exception):
    """A payload that cannot be decrypted: its key is not among ours, or it was changed on its way."""


class EncryptionCodec(PayloadCodec):
    """AES-256-GCM over whole payloads, their own metadata included.

    Decoding looks at the metadata only, never at the workflow or the namespace, so a replay elsewhere works as well.
    A payload that was never encrypted (sent by an operator's command line) is passed on as it is.
    """

    def __init__(self, keys: Sequence[NamedKey]) -> None:
        """The keys, newest first; at least one."""
        if not keys:
            raise ValueError("the payload codec needs at least one key")
        newest = keys[0]
        self._newest = AESGCM(newest.key)
        self._newest_id = newest.id.encode()
        self._ciphers = {key.id.encode(): AESGCM(key.key) for key in keys}

    @staticmethod
    def is_encrypted(payload: Payload) -> bool:
        """Whether decoding tells more of it than it says already."""
        return payload.metadata.get("encoding") == ENCODING

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload with the newest key."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each payload with the key that it names. Raises `CodecError`."""
        return [self._decrypt(payload) if self.is_encrypted(payload) else payload for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._newest.encrypt(nonce, payload.SerializeToString(), self._newest_id)
        return Payload(metadata={"encoding": ENCODING, KEY_ID_FIELD: self._newest_id}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID_FIELD, b"")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise CodecError(
                f"no codec key {key_id.decode(errors='replace')!r}: it must stay configured while histories use it"
            )
        data = payload.data
        try:
            plain = cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], key_id)
        except (InvalidTag, ValueError) as error:
            raise CodecError(
                f"a payload does not open with codec key {key_id.decode()!r}: it was changed, or has another key"
            ) from error
        return Payload.FromString(plain)


def data_converter(keys: Sequence[NamedKey]) -> DataConverter:
    """Pydantic models as JSON, encrypted; failures' messages and stack traces are moved into an encrypted payload."""
    return DataConverter(
        payload_converter_class=PydanticPayloadConverter,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
