"""What schemathesis leaves out: a form's part is a text, so that no client can send a caption that is anything else."""

from __future__ import annotations

from typing import Any

import schemathesis

# The single texts of the forms that take pictures; a number there is sent as its digits, which are a good text.
TEXTS = ("subset", "tags")


@schemathesis.hook
def filter_body(context: schemathesis.HookContext, body: Any) -> bool:
    """Whether a body can be sent so that the service can tell it from another."""
    if not isinstance(body, dict) or not body.keys() & {"file", "files"}:
        return True
    captions = body.get("caption", [])
    texts = [body[name] for name in TEXTS if name in body]
    return isinstance(captions, list) and all(isinstance(text, str) for text in [*texts, *captions])
