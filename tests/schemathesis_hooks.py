"""What schemathesis leaves out: a form's part is a text, so that no client can send a caption that is anything else."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def filter_body(context: schemathesis.HookContext, body: Any) -> bool:
    """Whether a body can be sent so that the service can tell it from another."""
    captions = body.get("caption", []) if isinstance(body, dict) else []
    return isinstance(captions, list) and all(isinstance(caption, str) for caption in captions)
