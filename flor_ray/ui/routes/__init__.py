"""What pages ask for under /api: one module per page, each with a `router`. They read arguments and hand on.

Functions are plain (`def`), so that each request has a thread, and end with `return answer({...})`. A FlorError that is
raised becomes {"error": its words, "kind": its class}. See `app`.
"""
