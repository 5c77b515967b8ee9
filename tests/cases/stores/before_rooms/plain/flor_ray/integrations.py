"""The events of a trainer, told as `flor_ray.loop` tells its loops."""

from flor_ray import _begun, _place


class TrainerLoops:
    def begin_epoch(self):
        _begun["epoch"] += 1
        _begun["step"] = -1
        _place["epoch"], _place["step"] = _begun["epoch"], None

    def begin_step(self):
        _begun["step"] += 1
        _place["step"] = _begun["step"]

    def end_steps(self):
        _place["step"] = None

    def end(self):
        _place["epoch"] = _place["step"] = None
