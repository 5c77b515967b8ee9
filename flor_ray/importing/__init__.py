"""Runs that other programs recorded (TensorBoard, wandb, MLflow, FlorDB), read from their files, kept as experiments.

What is read is data: nothing of it is executed, and none of those libraries is imported. Sources are opened for reading
only. What a source holds and the store cannot, is told.
"""
