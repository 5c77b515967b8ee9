"""Names by which users' code only gives something to an object, or asks what never changes. Anything else takes."""

from __future__ import annotations

# Methods that hand over what they are given and leave it as it is: of files, writers, loggers, progress bars, trackers,
# connections and queues. What they return does not matter where nobody looks at it.
# fmt: off
GIVES = frozenset(
    {
        "write", "writelines", "writerow", "writerows", "writeheader", "print", "send", "sendall", "send_bytes", "put",
        "put_nowait", "log", "debug", "info", "warning", "warn", "error", "critical", "exception", "log_metric",
        "log_metrics", "log_param", "log_params", "log_text", "log_dict", "log_artifact", "log_hyperparams",
        "log_image",
        "add_scalar", "add_scalars", "add_histogram", "add_image", "add_images", "add_figure", "add_text", "add_video",
        "add_audio", "add_mesh", "add_graph", "add_embedding", "add_hparams", "add_pr_curve", "set_postfix",
        "set_postfix_str", "set_description", "set_description_str", "track", "savefig", "execute", "executemany",
    }
)
# Methods that work on the object itself: so they do where they are given nothing but what cannot be changed.
WORKS = frozenset(
    {
        "update", "close", "flush", "refresh", "clear", "display", "release", "acquire", "notify", "notify_all", "set",
        "start", "stop", "pause", "unpause", "join", "advance", "wait", "shutdown", "terminate", "kill", "commit",
        "rollback", "tick", "finish", "cancel", "task_done", "truncate", "seek", "fsync", "poll", "reset",
        "record", "synchronize", "wait_event", "wait_stream",
    }
)
# Attributes that stay what they are while an object is used.
SETTLED = frozenset(
    {
        "name", "log_dir", "logdir", "encoding", "filename", "path", "url", "dir", "id", "run_id", "num_envs",
        "baseFilename", "project",
    }
)
# `elapsed_time` measures a clock, which no replay can put back.
SETTLED_METHODS = frozenset({"get_logdir", "fileno", "isatty", "writable", "readable", "elapsed_time"})
# Parameters through which anybody's function is given a file to write to.
FILES = frozenset({"file", "fp", "fileobj", "stream", "stdout", "stderr", "handlers"})
# Functions that write what they are given to a file that they are given.
WRITERS = frozenset(
    {
        "dump", "save", "savez", "savez_compressed", "savetxt", "tofile", "to_csv", "to_json", "to_pickle", "imsave",
        "savefig", "write_image", "pprint",
    }
)
# What these make stands for what they are given.
WRAPPERS = frozenset(
    {
        "writer", "DictWriter", "StreamHandler", "TextIOWrapper", "BufferedWriter", "closing", "nullcontext",
        "redirect_stdout", "redirect_stderr", "stream",
    }
)
# Builtins that look at an object, and not into it.
LOOKS = frozenset({"isinstance", "issubclass", "callable", "hasattr", "id", "type"})
# Builtins that hand on what is in a container.
HANDS_ON = frozenset({"enumerate", "zip", "reversed", "list", "tuple", "iter", "next", "sorted", "dict", "set"})
HANDS_OUT = frozenset(  # so do these methods
    {"values", "items", "copy", "get", "pop", "popleft", "popitem", "setdefault", "__getitem__", "__iter__", "__next__"}
)
KEEPS = frozenset(
    {"append", "appendleft", "add", "insert", "extend", "push", "enter_context", "addHandler", "setdefault"}
)
ATOMS = frozenset({"int", "float", "str", "bool", "len", "repr", "round", "format", "ord", "hash"})  # what they return
# Methods of tensors, arrays and texts that return what cannot be changed.
PLAIN_METHODS = frozenset({"item", "size", "dim", "numel", "format", "total_seconds", "nelement", "strip", "join"})
# Decorators that hand all arguments on to the function, and its value back.
TRANSPARENT = frozenset(
    {
        "no_grad", "inference_mode", "enable_grad", "set_grad_enabled", "staticmethod", "classmethod", "abstractmethod",
        "override", "final", "wraps", "property", "cached_property", "setter", "deleter", "dataclass", "autocast",
        "compile", "main", "command", "record", "typechecked", "beartype",
    }
)
# Classes of libraries that keep nothing of what their subclasses are given.
PLAIN_BASES = frozenset(
    {
        "object", "ABC", "Protocol", "Generic", "Module", "Dataset", "IterableDataset", "LightningModule", "Callback",
    }
)
# fmt: on
