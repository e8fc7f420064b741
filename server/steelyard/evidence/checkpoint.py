"""Checkpoints as they are signed: by the log, and by a witness where there is one."""

import base64
import struct

from steelyard.evidence.keys import PrivateKey
from steelyard.evidence.verifier import Checkpoint, Key, cosigned_message


def signed(checkpoint: Checkpoint, log: PrivateKey) -> bytes:
    """The note that the log signs (C2SP tlog-checkpoint)."""
    text = str(checkpoint)
    return f"{text}\n{_line(log.key, log.sign(text.encode()))}".encode()


def cosigned(note: bytes, witness: PrivateKey, unix_s: int) -> bytes:
    """The note with the witness's line (C2SP tlog-cosignature, cosignature/v1): at that time it saw no larger tree.

    Whoever calls has checked the log's signature, and that the tree begins with the last one that the witness saw.
    """
    text = note.decode().rpartition("\n\n")[0] + "\n"
    signature = witness.sign(cosigned_message(text, unix_s))
    return note + _line(witness.key, struct.pack(">Q", unix_s) + signature).encode()


def _line(key: Key, signature: bytes) -> str:
    return f"— {key.name} {base64.b64encode(key.key_id + signature).decode()}\n"
