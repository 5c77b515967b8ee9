"""Runs from before flor_ray become versions: a commit, a command line and a folder of checkpoint files.

    files ── checkpoint_files ──> what each holds ─┐
    script ── analysis.adopting ──> what it saves ─┴─ proposing ──> a table, to be confirmed ── keeping ──> store

`flor_ray.patching.adopted` has how such a version is read, `flor_ray.replaying.trainers` how a Trainer's is replayed.
"""
