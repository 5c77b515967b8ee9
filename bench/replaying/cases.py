"""Real training scripts, and the statements that somebody wishes to have written in them.

A statement of the group DISTURBING draws random numbers, changes a mode or moves a buffer. What it logs is compared
with a run in which the same statement stands in a block that puts all of that back, by hand (see guard.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
SCRIPT = "train.py"


class Group(StrEnum):
    """Statements of one group are asked for together."""

    OUTER = "outer"  # outside the nested loops: these need not run
    INNER = "inner"
    HELPER = "helper"  # in a function of another file
    DISTURBING = "disturbing"


@dataclass(frozen=True, slots=True)
class Feature:
    """A statement that logs `name`, and the line after which it stands, at that line's indentation."""

    name: str
    group: Group
    after: str  # "": at the end of the file
    statement: str
    file: str = SCRIPT
    guarded: str = ""  # of a disturbing one: what must be put back, as arguments of guard.undisturbed


@dataclass(frozen=True, slots=True)
class Case:
    """A script, the features that are asked for in hindsight, and arguments that make it short."""

    name: str
    features: tuple[Feature, ...]
    tiny: Mapping[str, object]
    small: Mapping[str, object]

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text(encoding="utf-8") for path in sorted((SCRIPTS / self.name).glob("*.py"))}

    def names(self, group: Group) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features if feature.group is group)

    def hindsight(self, group: Group) -> dict[str, str]:
        """The files with the statements of a group, as a user adds them."""
        asked = [feature for feature in self.features if feature.group is group]
        return _with(self.files(), [(feature, [feature.statement]) for feature in asked])

    def truth(self) -> dict[str, str]:
        """The files with all the statements such that none of them disturbs what comes after it."""
        written = []
        for feature in self.features:
            lines = [feature.statement]
            if feature.group is Group.DISTURBING:
                lines = [f"with undisturbed({feature.guarded}):", f"    {feature.statement}"]
            written.append((feature, lines))
        files = _with(self.files(), written)
        guarded = {feature.file for feature in self.features if feature.group is Group.DISTURBING}
        for name in guarded:
            files[name] = _import_guard(files[name])
        return files | {"guard.py": (Path(__file__).parent / "guard.py").read_text(encoding="utf-8")}


def _with(files: dict[str, str], written: Iterable[tuple[Feature, list[str]]]) -> dict[str, str]:
    for feature, lines in written:
        files[feature.file] = insert(files[feature.file], feature.after, lines)
    return files


def insert(text: str, after: str, lines: Iterable[str]) -> str:
    """The text with lines after the one line that is `after` ("": at the end), at its indentation.

    Raises:
        ValueError: there is not exactly one such line.
    """
    if not after:
        return text + "".join(f"{line}\n" for line in lines)
    if text.split("\n").count(after) != 1:
        raise ValueError(f"There is not exactly one line {after!r}.")
    indent = after[: len(after) - len(after.lstrip())]
    added = "".join(f"{indent}{line}\n" for line in lines)
    return f"\n{text}".replace(f"\n{after}\n", f"\n{after}\n{added}")[1:]


def _import_guard(text: str) -> str:
    return insert(text, "import flor_ray as flor", ["from guard import undisturbed"])


def _log(name: str, value: str) -> str:
    return f'flor.log("{name}", {value})'


def _feature(name: str, group: Group, after: str, value: str, guarded: str = "") -> Feature:
    return Feature(name, group, after, _log(name, value), guarded=guarded)


def _gradients(model: str) -> str:
    return f"[p.grad.norm().item() for p in {model}.parameters()]"


OUTER, INNER, HELPER, DISTURBING = Group.OUTER, Group.INNER, Group.HELPER, Group.DISTURBING

MLP = Case(
    "mlp",
    (
        _feature("positives", OUTER, "loss_fn = nn.BCEWithLogitsLoss()", "y_train.sum().item()"),
        _feature("first_weight", OUTER, "    running_loss = 0.0", "model.layers[0].weight.detach().numpy()"),
        _feature("grads", INNER, "        loss.backward()", _gradients("model")),
        _feature("batch_mean", INNER, "        logits = model(xb)", "xb.mean().item()"),
        _feature("running_var", OUTER, "    model.eval()", "model.layers[1].running_var.numpy()"),
        _feature("logits", OUTER, '    flor.log("val_loss", val_loss)', "logits.numpy()"),
        _feature("last_train_loss", OUTER, "", "running_loss / len(loader)"),
        _feature("final_logits", OUTER, "", "model(X_test).detach().numpy()"),
        _feature(
            "shuffled_loss",
            DISTURBING,
            '    flor.log("val_acc", val_acc)',
            "[loss_fn(model.train()(xb), yb).item() for xb, yb in loader]",
            "model",
        ),
        _feature(
            "noise", DISTURBING, "        optimizer.step()", "model(xb + torch.randn_like(xb)).sum().item()", "model"
        ),
    ),
    tiny={"epochs": 4, "hidden": 16, "batch_size": 64},
    small={"epochs": 8, "hidden": 64},
)
CNN = Case(
    "cnn",
    (
        _feature("parameters", OUTER, "net = ConvNet()", "sum(p.numel() for p in net.parameters())"),
        _feature("lr_at_start", OUTER, "    seen = 0", "(optimizer.param_groups[0]['lr'], scheduler.last_epoch)"),
        _feature("grads", INNER, "        loss.backward()", _gradients("net")),
        _feature("first_input", INNER, "        outputs = net(inputs)", "inputs[0].numpy()"),
        _feature(
            "momentum", OUTER, "    scheduler.step()", "optimizer.state[net.conv1.weight]['momentum_buffer'].numpy()"
        ),
        _feature("kernels", OUTER, '    flor.log("accuracy", accuracy)', "net.conv1.weight.detach().numpy()"),
        _feature("final_kernels", OUTER, "", "net.conv2.weight.detach().numpy()"),
        Feature(
            "right", HELPER, "            correct += (predictions == labels).sum().item()", _log("right", "correct")
        ),
        _feature(
            "augmented_accuracy",
            DISTURBING,
            "    accuracy = evaluate(net, testloader)",
            "[F.cross_entropy(net.train()(x), y).item() for x, y in trainloader]",
            "net",
        ),
        _feature(
            "dice",
            DISTURBING,
            "        seen += len(targets)",
            "(random.random(), np.random.rand(), torch.rand(1).item())",
            "net",
        ),
    ),
    tiny={"epochs": 4, "count": 300},
    small={"epochs": 6},
)
LANGUAGE_MODEL = Case(
    "language_model",
    (
        _feature("parameters", OUTER, "model = GPT2LMHeadModel(config)", "model.num_parameters()"),
        _feature("embedding", OUTER, "        total = 0.0", "model.transformer.wte.weight.detach().numpy()"),
        _feature("grads", INNER, "            loss.backward()", _gradients("model")),
        _feature("block", INNER, "            total += loss.item()", "block.numpy()"),
        _feature("warmth", OUTER, '        flor.log("val_loss", val_loss)', "(scheduler.last_epoch, total)"),
        _feature("final_embedding", OUTER, "", "model.transformer.wte.weight.detach().numpy()"),
        Feature("sampled", HELPER, "    model.train()", _log("sampled", "losses.numpy()"), "corpus.py"),
        _feature(
            "other_losses",
            DISTURBING,
            '        flor.log("lr_now", scheduler.get_last_lr()[0])',
            "[model.train()(input_ids=b, labels=b).loss.item() for b in [get_batch(val_data, batch_size, block_size)]]",
            "model",
        ),
    ),
    tiny={"epochs": 3, "steps": 4, "sums": 200, "layers": 1, "width": 16},
    small={"epochs": 4},
)
GAN = Case(
    "gan",
    (
        _feature("fixed_norm", OUTER, "ema = None", "fixed_noise.norm().item()"),
        _feature(
            "second_moments",
            OUTER,
            "    generator.train()",
            "[s['exp_avg_sq'].norm().item() for s in optimizer_d.state.values()]",
        ),
        _feature("grads_d", INNER, "        loss_d.backward()", _gradients("discriminator")),
        _feature("grads_g", INNER, "        loss_g.backward()", _gradients("generator")),
        _feature("samples", OUTER, "    radius = samples.norm(dim=1)", "samples.numpy()"),
        _feature("ema_again", OUTER, '    flor.log("ema", ema)', "ema"),
        _feature("final_samples", OUTER, "", "generator(fixed_noise).detach().numpy()"),
        # spectral norm moves its buffers whenever the discriminator is called in training mode
        _feature(
            "fresh_score",
            DISTURBING,
            '    flor.log("radius", radius.mean().item())',
            "discriminator(generator.train()(torch.randn(64, latent_dim))).mean().item()",
            "generator, discriminator",
        ),
        _feature(
            "real_score",
            DISTURBING,
            '        flor.log("loss_d", loss_d.item())',
            "discriminator(sample_ring(16)).mean().item()",
            "generator, discriminator",
        ),
    ),
    tiny={"epochs": 4, "steps": 8, "hidden": 16},
    small={"epochs": 6},
)
PPO = Case(
    "ppo",
    (
        _feature("first_observation", OUTER, "total_steps = 0", "observation.numpy()"),
        _feature(
            "policy",
            OUTER,
            "    observations, actions, log_probs = [], [], []",
            "agent.actor[2].weight.detach().numpy()",
        ),
        _feature("action", INNER, "        total_steps += 1", "(action.item(), value.item())"),
        _feature("angle", INNER, "        observation = torch.tensor(following)", "observation[2].item()"),
        _feature("kl", INNER, "            optimizer.step()", "(ratio - 1 - ratio.log()).mean().item()"),
        _feature("returns", OUTER, "    returns = advantages + values", "returns.numpy()"),
        _feature(
            "state", OUTER, '    flor.log("entropy", entropy.item())', "(total_steps, list(recent), episode_return)"
        ),
        _feature("final_policy", OUTER, "", "agent.actor[2].weight.detach().numpy()"),
        _feature(
            "sampled_values",
            DISTURBING,
            '    flor.log("mean_return", float(np.mean(recent)) if recent else 0.0)',
            "agent.critic(b_obs[np.random.permutation(horizon)[:16]]).detach().numpy()",
            "agent",
        ),
        _feature(
            "other_action",
            DISTURBING,
            "        log_probs.append(log_prob)",
            "agent.act(observation)[0].item()",
            "agent",
        ),
    ),
    tiny={"updates": 4, "horizon": 64, "minibatch": 32},
    small={"updates": 6},
)
SCHEDULE = Case(
    "schedule",
    (
        _feature("first_indices", OUTER, "bad_epochs = 0", "train_idx[:10].numpy()"),
        _feature(
            "so_far",
            OUTER,
            "    shuffled = train_idx[torch.randperm(len(train_idx))]",
            "(global_step, best_epoch, bad_epochs)",
        ),
        _feature("norm", INNER, "        nn.utils.clip_grad_norm_(model.parameters(), max_norm)", _gradients("model")),
        _feature("step_lr", INNER, "        global_step += 1", "(global_step, optimizer.param_groups[0]['lr'])"),
        _feature(
            "plateau", OUTER, "    plateau.step(val_loss)", "(plateau.num_bad_epochs, plateau.best, warmup.last_epoch)"
        ),
        _feature("best", OUTER, "        bad_epochs += 1", "best_loss"),
        _feature("best_weight", OUTER, "", "best_state['0.weight'].numpy()"),
        _feature("epochs_run", OUTER, "", "(epoch, global_step, best_epoch)"),
        _feature(
            "subset_loss",
            DISTURBING,
            '    flor.log("val_loss", val_loss)',
            "model.train()(inputs[val_idx[torch.randperm(len(val_idx))[:20]]]).mean().item()",
            "model",
        ),
    ),
    tiny={"epochs": 12, "patience": 2, "batch_size": 64},
    small={"epochs": 30},
)
CASES = (MLP, CNN, LANGUAGE_MODEL, GAN, PPO, SCHEDULE)
