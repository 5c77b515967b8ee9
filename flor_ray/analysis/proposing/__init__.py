"""Which calls a script needs to be recorded, as insertions into its text: `flor-ray init`. Pure: bytes in, values out.

script_text   one file: its bytes, its tree, and where in the bytes each node stands
codebase      which function of the user's a call runs, across files
training      which loops run around the steps of an optimizer
parts         models, optimizers, schedulers: what checkpoints should hold
hyperparameters   constants and configurations
proposals     all of it, as proposals with a reason each, or the reason why there is none
"""
