"""The files in cluster/launch are such as Ray and KubeRay take: by the schema that Ray ships, and by Ray's own checks.

KubeRay's CRD is in no package of Python's. `RAYJOB` is what we use of it, in our words; nothing else is let through."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FOLDER = Path(__file__).parents[2] / "cluster/launch"
LAUNCHERS = ("aws", "gcp", "on_prem")
SCHEMA = json.loads(Path(ray.autoscaler.__file__).with_name("ray-schema.json").read_text())


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return found


def test_there_are_four_of_them_and_the_docs_have_each() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {*(f"{name}.yaml" for name in LAUNCHERS), "kuberay_rayjob.yaml"}
    page = (FOLDER.parents[1] / "docs/cluster.md").read_text()
    assert [name for name in names if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_file_is_one_by_the_schema_and_the_checks_of_ray(name: str) -> None:
    config = read(name)
    jsonschema.validate(config, SCHEMA)
    validate_config(prepare_config(copy.deepcopy(config)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config | {"workers": 4}, SCHEMA)


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_heads_run_no_workers_and_all_workers_are_there_when_a_replay_begins(name: str) -> None:
    config = read(name)
    head, gpu = config["available_node_types"]["head"], config["available_node_types"]["gpu"]
    assert (config["head_node_type"], head["resources"]) == ("head", {"CPU": 0, "GPU": 0})
    assert gpu["min_workers"] == gpu["max_workers"] == config["max_workers"]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_secrets_and_recorded_runs_are_not_copied_to_the_nodes(name: str) -> None:
    config = read(name)
    assert {".git/**", ".flor/**", ".env"} <= set(config["rsync_exclude"])
    assert any(path.endswith(".ray/auth_token") for path in config["file_mounts"])


@pytest.mark.parametrize("name", [*LAUNCHERS, "kuberay_rayjob"])
def test_all_name_the_release_of_ray_that_the_tests_run_with(name: str) -> None:
    named = set(re.findall(r"(?:ray:|==|rayVersion: )(\d+\.\d+\.\d+)", (FOLDER / f"{name}.yaml").read_text()))
    assert named == {ray.__version__}


def an(**properties: Any) -> dict[str, Any]:
    """An object with these properties, all of them, and no others."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
QUANTITIES = {"type": "object", "additionalProperties": TEXT}
CONTAINER = an(
    name=TEXT,
    image=TEXT,
    envFrom={"type": "array", "items": an(secretRef=an(name=TEXT))},
    resources=an(limits=QUANTITIES, requests=QUANTITIES),
)
POD = an(spec=an(containers={"type": "array", "items": CONTAINER, "minItems": 1}))
PARAMETERS = {"type": "object", "additionalProperties": TEXT}
WORKERS = an(
    groupName=TEXT, replicas=COUNT, minReplicas=COUNT, maxReplicas=COUNT, rayStartParams=PARAMETERS, template=POD
)
RAYJOB = an(
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=an(name={"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,45}[a-z0-9])?$"}),
    spec=an(
        entrypoint=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"]},
        submitterConfig=an(backoffLimit=COUNT),
        backoffLimit=COUNT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=an(
            rayVersion=TEXT,
            authOptions=an(mode={"enum": ["token", "disabled"]}),
            headGroupSpec=an(rayStartParams=PARAMETERS, template=POD),
            workerGroupSpecs={"type": "array", "items": WORKERS, "minItems": 1},
        ),
    ),
)


def test_the_rayjob_is_what_kuberay_takes() -> None:
    job = read("kuberay_rayjob")
    jsonschema.validate(job, RAYJOB)
    spec = job["spec"]["rayClusterSpec"]
    head, worker = spec["headGroupSpec"], spec["workerGroupSpecs"][0]
    assert head["rayStartParams"] == {"num-cpus": "0"}
    assert worker["minReplicas"] == worker["replicas"] == worker["maxReplicas"]
    containers = [group["template"]["spec"]["containers"][0] for group in (head, worker)]
    assert containers[0]["image"] == containers[1]["image"]  # one Python, one Ray, one flor_ray
    job["spec"]["backofLimit"] = 1
    with pytest.raises(jsonschema.ValidationError, match="backofLimit"):
        jsonschema.validate(job, RAYJOB)
