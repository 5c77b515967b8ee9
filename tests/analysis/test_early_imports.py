"""Which imports of a version may run early."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from flor_ray.analysis.early_imports import Import, preload


def early(files: Mapping[str, str], script: str = "train.py", *others: str) -> list[str]:
    found = preload({path: text.encode() for path, text in files.items()}, script, others, {})
    return [str(one) for one in found.imports]


def test_modules_and_the_names_taken_from_them_come_in_the_order_in_which_they_are_imported() -> None:
    script = """
import scipy.stats as S, numpy as np
from tokenizers import AutoModel, AutoTokenizer as T
from einops import *
"""
    assert early({"train.py": script}) == [
        "scipy.stats",
        "numpy",
        "tokenizers",
        "tokenizers.AutoModel",
        "tokenizers.AutoTokenizer",
        "einops",
    ]


def test_attributes_of_an_imported_module_are_loaded_too_wherever_they_are_used() -> None:
    script = "import tokenizers as tf\n\n\ndef main():\n    tf.AutoModel.from_pretrained('x')\n"
    assert early({"train.py": script}) == ["tokenizers", "tokenizers.AutoModel"]


def test_top_level_blocks_count_and_functions_do_not() -> None:
    script = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import pandas
try:
    import apex
except ImportError:
    import fallback
if __name__ == "__main__":
    with open("x"):
        import tqdm
class Net:
    import einops
    def forward(self):
        import sklearn
def main():
    import transformers
"""
    assert early({"train.py": script}) == ["apex", "fallback", "tqdm", "einops"]


def test_the_repository_s_own_modules_are_followed() -> None:
    files = {
        "src/train.py": "import models.net\nfrom tools import data\nfrom missing_locally import x\n",
        "src/models/__init__.py": "import scipy\n",
        "src/models/net.py": "from . import layers\nfrom ..train import nothing\n",
        "src/models/layers.py": "from scipy import nn\n",
        "tools/data.py": "import pandas\nimport tools.data\n",
        "tools/unused.py": "import sklearn\n",
    }
    assert early(files, "src/train.py") == [
        "scipy",
        "scipy.nn",
        "pandas",
        "missing_locally",
        "missing_locally.x",
    ]


@pytest.mark.parametrize(
    "path",
    ["datasets/loader.py", "datasets.py", "src/datasets.py", "src/datasets/__init__.py", "datasets.cpython-311.so"],
)
def test_a_name_that_a_file_of_the_version_provides_is_no_library_s(path: str) -> None:
    found = preload({"train.py": b"import datasets, pandas"}, "train.py", ["src/x.py", path], {})
    assert [str(one) for one in found.imports] == ["pandas"]
    assert {"datasets", "train"} <= found.avoid


def test_a_module_of_a_package_hides_no_library() -> None:
    files = {
        "train.py": "import tokenizers",
        "models/__init__.py": "",
        "models/tokenizers.py": "",
        "data/tokenizers.csv": "",
    }
    assert early(files) == ["tokenizers"]


def test_what_must_not_be_there_in_a_fork_is_left_to_the_script() -> None:
    script = b"import ray\nimport jax.numpy as jnp\nimport flor_ray as flor\nimport os\nimport pandas\n"
    found = preload({"train.py": script}, "train.py", (), {})
    assert found.imports == (Import("pandas"),)
    assert {"ray", "jax"} <= found.avoid
    assert "flor_ray" not in found.avoid


def test_variables_set_before_all_imports_are_part_of_the_environment() -> None:
    script = b"""
import os
os.environ["HF_HOME"] = "cache"
os.environ.setdefault("MODE", "b")
os.environ["PYTHONHASHSEED"] = str(1)
import pandas
"""
    found = preload({"train.py": script}, "train.py", (), {"MODE": "a", "HOME": "/h"})
    assert found.imports == (Import("pandas"),)
    assert found.environment == {"MODE": "a", "HOME": "/h", "HF_HOME": "cache"}


@pytest.mark.parametrize(
    "change",
    [
        'os.environ["MODE"] = "b"',
        'os.environ["MODE"] = mode()',
        "os.environ.update(settings)",
        "os.environ |= settings",
        'del os.environ["MODE"]',
        'os.putenv("MODE", "b")',
        "load_dotenv()",
        'if slow:\n    os.environ["MODE"] = "b"',
        'sys.path.insert(0, "/opt/patched")',
        'sys.path = ["/opt/patched"]',
        'sys.path[:0] = ["/opt/patched"]',
    ],
)
def test_what_is_imported_after_the_environment_changed_is_imported_by_the_script(change: str) -> None:
    script = f"import pandas\n{change}\nimport einops\n"
    found = preload({"train.py": script.encode()}, "train.py", (), {"MODE": "a"})
    assert found.imports == (Import("pandas"),)
    assert found.avoid == {"train", "einops"}


@pytest.mark.parametrize(
    "change",
    [
        'os.environ["MODE"] = "a"',
        'print(os.environ["MODE"])',
        'os.environ["PYTHONHASHSEED"] = str(seed)',
        "sys.path.append('/opt/more')",
        "sys.path.insert(0, os.path.dirname(__file__))",
        "print(sys.path)",
    ],
)
def test_what_changes_nothing_for_an_import_is_passed_over(change: str) -> None:
    script = f"import pandas\n{change}\nimport einops\n"
    found = preload({"train.py": script.encode()}, "train.py", (), {"MODE": "a"})
    assert found.imports == (Import("pandas"), Import("einops"))


def test_imports_in_functions_wait_for_a_function_that_changes_the_environment() -> None:
    script = "import numpy\ndef main():\n    {}\n    import numpy\n    import pandas\n"
    quiet = preload({"train.py": script.format("pass").encode()}, "train.py", (), {})
    assert quiet.avoid == {"train"}
    changing = preload({"train.py": script.format("os.environ['A'] = b()").encode()}, "train.py", (), {})
    assert changing.avoid == {"train", "pandas"}


def test_a_file_that_does_not_parse_imports_nothing_early() -> None:
    assert early({"train.py": "import pandas\nimport helper\n", "helper.py": "print 'old'\n"}) == ["pandas"]
    assert early({"train.py": "import pandas\nprint 'old'\n"}) == []
    assert early({}) == []


def test_what_torch_imports_with_the_first_optimizer_is_imported_last() -> None:
    assert early({"train.py": "import torch\nimport pandas\n"}) == ["torch", "pandas", "torch._dynamo"]
    assert early({"train.py": "import transformers\n"}) == ["transformers", "torch._dynamo"]
    assert early({"train.py": "import torch\nos.environ['A'] = a()\nimport pandas\n"}) == ["torch"]
